#!/usr/bin/env python3
"""What scoring several lengths in one pass costs beside the longest alone, and streamed weights beside resident ones; the rows must be equal.

usage: bench/compare_passes.py lengths  MODEL TEXT [--length 32768] [--documents 1] [--binary build/release/qroar]
       bench/compare_passes.py streamed MODEL TEXT [--length 2048]  [--documents 8] [--binary build/release/qroar]

lengths: 1/16, 1/8 .. 1/1 of LENGTH under `rope: {type: none}`.  streamed: RTN W4 g64, so that weights are quantized, too.  The seconds are of whole
processes, each the best of --runs; the model is read once before, so that both find it in the page cache.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEPT = ("metrics", "config", "id")


def run(binary, experiment):
    """(seconds, {id: what every run of the cell must repeat}) of a process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(json.dumps(experiment))
        before = time.perf_counter()
        subprocess.run([binary, "run", file, "--results", folder], capture_output=True, check=True)
        seconds = time.perf_counter() - before
        rows = [json.loads(path.read_text()) for path in Path(folder).glob("cells/*/row.json")]
        return seconds, {row["id"]: {key: row[key] for key in KEPT} for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["lengths", "streamed"])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--length", type=int)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--binary", default="build/release/qroar")
    options = parser.parse_args()
    joined = options.what == "lengths"
    length, documents = options.length or (32768 if joined else 2048), options.documents or (1 if joined else 8)
    experiment = {"model": {"path": str(Path(options.model).resolve())}, "rope": {"type": "none"},
                  "data": {"path": str(Path(options.text).resolve()), "documents": documents, "min_tokens": length, "max_tokens": length}}
    windows = {"truncate": True, "bos": False}
    if joined:
        one = experiment | {"windows": windows | {"length": length}}
        other = experiment | {"windows": windows | {"lengths": [length >> shift for shift in (4, 3, 2, 1, 0)]}}
    else:
        one = experiment | {"windows": windows | {"length": length}, "quant": [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}]}
        other = one | {"model": one["model"] | {"weights": "streamed"}}
        one = one | {"model": one["model"] | {"weights": "resident"}}
    first = run(options.binary, one | {"windows": windows | {"length": 64}})  # which reads the model
    assert first[1]
    results = [min((run(options.binary, each) for _ in range(options.runs)), key=lambda result: result[0]) for each in (one, other)]
    (alone, expected), (seconds, found) = results
    if any(found.get(cell) != row for cell, row in expected.items()):
        sys.exit("compare_passes: the rows differ")
    names = ("the longest alone", "five lengths") if joined else ("resident", "streamed")
    print(f"{names[0]}: {alone:.1f} s; {names[1]}: {seconds:.1f} s, {seconds / alone:.3f} times as long; {len(expected)} row(s) equal")


if __name__ == "__main__":
    main()
