#!/usr/bin/env python3
"""What diagnostics cost: seconds a document, as the wall time of a cell with one diagnostic less that without any, and the memory of either at its most.

usage: bench/diagnostics.py MODEL TEXT [--diagnostics sensitivity] [--length 2048] [--documents 1] [--runs 1] [--threads N] [--binary build/release/qroar]
Evaluated is one window of --length tokens a document under YaRN x2; --diagnostics takes several types with commas between.  The shortest of --runs counts.
"""
import argparse
import time
from pathlib import Path

from one_cell import one_cell


def cost(options, diagnostics):
    """(seconds, bytes at the peak) of a process."""
    experiment = {"model": {"path": str(Path(options.model).resolve())}, "rope": {"type": "yarn", "factor": 2}, "diagnostics": diagnostics,
                  "data": {"path": str(Path(options.text).resolve()), "documents": options.documents, "min_tokens": options.length, "max_tokens": options.length},
                  "windows": {"length": options.length, "truncate": True, "bos": False}}
    best = None
    for _ in range(options.runs):
        start = time.perf_counter()
        with one_cell(options.binary, experiment, options.threads) as (row, _):
            seconds = time.perf_counter() - start
        best = min(best or (seconds, row["peak_bytes"]), (seconds, row["peak_bytes"]))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--diagnostics", default="sensitivity")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--documents", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--binary", default="build/release/qroar")
    options = parser.parse_args()
    alone, memory = cost(options, [])
    print(f"without: {alone / options.documents:.1f} s a document, {memory / 1e9:.2f} GB", flush=True)
    for diagnostic in options.diagnostics.split(","):
        seconds, memory = cost(options, [{"type": diagnostic, "windows": options.documents}])
        print(f"{diagnostic}: {(seconds - alone) / options.documents:.1f} s a document more, {memory / 1e9:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
