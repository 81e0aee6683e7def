#!/usr/bin/env python3
"""Cells an hour of a sweep by one worker and by several on this host, and how often they read the checkpoint from the disk: streamed workers find
what one of them has read in the page cache.

usage: bench/devices.py FOLDER [--devices all] [--weights streamed] [--cells 8] [--windows 2] [--length 2048] [--binary build/release/qroar]
FOLDER: a checkpoint as `bench/compare_offload.py make FOLDER` writes it; --devices cpu,cpu tries it without GPUs.  Needs the Python of scripts/setup.
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from compare_offload import drop_from_page_cache, experiment_of


def sweep(options, devices):
    """(seconds, bytes read from the disk) of a sweep; none of the files is in memory at its start."""
    rounds = [[{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 128, "clip": 1 - 0.01 * cell}}] for cell in range(options.cells)]
    experiment = experiment_of(options, options.weights) | {"sweep": [{"quant": rounds}]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(json.dumps(experiment), encoding="utf-8")
        drop_from_page_cache(options.folder)
        read, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock, time.perf_counter()
        command = [options.binary, "run", file, "--results", folder, "--devices", devices]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - start
        assert len(list(Path(folder).glob("cells/*/row.json"))) == options.cells
        return seconds, 512 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - read)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--devices", default="all")
    parser.add_argument("--weights", default="streamed", choices=["resident", "streamed"])
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--binary", default="build/release/qroar")
    options = parser.parse_args()
    size = sum(file.stat().st_size for file in options.folder.glob("*.safetensors"))
    one = "cuda:0" if options.devices == "all" else options.devices.split(",")[0]
    alone = None
    for devices in (one, options.devices):
        seconds, read = sweep(options, devices)
        alone = alone or seconds
        print(f"{devices}: {3600 * options.cells / seconds:.0f} cells an hour ({alone / seconds:.2f} times the first), read {read / size:.2f} times the "
              f"checkpoint's {size / 1e9:.1f} GB from the disk", flush=True)


if __name__ == "__main__":
    main()
