#!/usr/bin/env python3
"""What claims cost a sweep: claims_bench's time per cell as a share of a cell's wall time in a sweep of 64 small cells of tiny-books, by one
process and by 8 at once, one thread each.
usage: claims_overhead.py [BUILD_FOLDER] [FOLDER], where FOLDER lies on the file system in question (default: build/release, a temporary one)"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
QUANT = [[], *([{"match": "layers.*", "weight": {"type": "rtn", "bits": bits, "group": 64}}] for bits in (8, 4, 3))]
SWEEP = {"rope": [{"type": "none"}, *({"type": name, "factor": 2} for name in ("linear", "ntk", "yarn"))], "quant": QUANT,
         "windows.length": [256, 512, 768, 1024]}
EXPERIMENT = {"model": {"path": str(REPO / "configs/models/tiny-books"), "dtype": "float32", "device": "cpu"},
              "data": {"path": str(REPO / "tests/support/text.jsonl")}, "windows": {"length": 256, "truncate": True}, "sweep": [SWEEP]}
CELLS = 64


def sweep(binary, folder, processes):
    """Wall seconds of a sweep."""
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(EXPERIMENT), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "QROAR_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    running = [subprocess.Popen([binary, "run", file, "--results", folder / f"results{processes}"], env=environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for _ in range(processes)]
    assert [process.wait() for process in running] == [0] * processes
    seconds = time.perf_counter() - start
    assert len(list(folder.glob(f"results{processes}/cells/*/row.json"))) == CELLS
    return seconds


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else REPO / "build/release").resolve()
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        bench = subprocess.run([build / "bench/claims_bench", folder], capture_output=True, text=True, check=True)
        claim = float(bench.stdout.splitlines()[1].split(",")[0]) * 1e-6
        print(f"claims: {1e6 * claim:.0f} us a cell (a folder with 8 other claims)")
        for processes in (1, 8):
            seconds = sweep(build / "qroar", folder, processes)
            cell = processes * seconds / CELLS
            print(f"{processes} processes: {seconds:.2f} s, {1e3 * cell:.0f} ms of a process a cell, claims {100 * claim / cell:.2f} %")


if __name__ == "__main__":
    main()
