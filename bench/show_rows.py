#!/usr/bin/env python3
"""How long `show --interaction rope,quant` takes over many rows: N schemes, N quantizers, N lengths and N rounding draws of four documents, with the loss
by position.

usage: bench/show_rows.py [--levels 10] [--runs 3] [--binary build/release/qroar]
One cell of tiny-books is evaluated and copied N^4 times, each copy with its own axes and with losses multiplied by a number of its own, so that no two rows
are equal.  The first run finds the files as they were just written; quote the shortest.
"""
import argparse
import csv
import io
import itertools
import json
import math
import random
import subprocess
import tempfile
import time
from pathlib import Path

from one_cell import one_cell

REPO = Path(__file__).resolve().parents[1]


def evaluated(binary, scratch):
    """(row, lines of clusters.csv) of a cell."""
    words = json.loads((REPO / "tests/support/text.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"].split()
    text = scratch / "texts.jsonl"
    text.write_text("".join(json.dumps({"id": f"d{n}", "text": " ".join(words[50 * n:50 * n + 150])}) + "\n" for n in range(4)), encoding="utf-8")
    experiment = {"model": {"path": str(REPO / "configs/models/tiny-books"), "dtype": "float32", "device": "cpu"}, "data": {"path": str(text)},
                  "windows": {"length": 128, "truncate": True}, "metrics": ["perplexity", {"type": "nll_by_position", "last": 32}], "rounding": {"draw": 0}}
    with one_cell(binary, experiment) as (row, folder):
        return row, list(csv.DictReader(io.StringIO((folder / "clusters.csv").read_text(encoding="utf-8"))))


def write_copy(folder, row, clusters, axes, factor):
    """Writes the cell with other axes and all its losses times `factor`; returns what plan.json says of it."""
    cell = f"{random.getrandbits(64):016x}"
    config = row["config"] | {"rope": axes["rope"], "quant": axes["quant"], "rounding": {"draw": axes["rounding.draw"]},
                              "windows": row["config"]["windows"] | dict.fromkeys(("length", "stride"), axes["windows.length"])}
    metrics = {name: metric | {"value": metric["value"] * factor} for name, metric in row["metrics"].items()}
    metrics["perplexity"]["value"] = math.exp(metrics["nll"]["value"])
    place = folder / "cells" / cell
    place.mkdir(parents=True)
    (place / "row.json").write_text(json.dumps(row | {"id": cell, "axes": axes, "config": config, "metrics": metrics}), encoding="utf-8")
    with (place / "clusters.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, clusters[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(line | {"sum": repr(float(line["sum"]) * factor)} for line in clusters)
    return {"id": cell, "axes": axes, "flops": 1.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--binary", default="build/release/qroar")
    options = parser.parse_args()
    schemes = [{"type": "none"}, *({"type": "linear", "factor": 2.0 + n} for n in range(options.levels - 1))]
    quantizers = [[], *([{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 0, "clip": 1 - 0.01 * n}}] for n in range(options.levels - 1))]
    random.seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "results")
        row, clusters = evaluated(options.binary, Path(scratch))
        cells = [write_copy(folder, row, clusters, {"windows.length": 128 * (1 + length), "rope": rope, "quant": quant, "rounding.draw": draw},
                            random.uniform(0.9, 1.1))
                 for length, rope, quant, draw in itertools.product(range(options.levels), schemes, quantizers, range(options.levels))]
        (folder / "plan.json").write_text(json.dumps({"experiment": row["experiment"], "file": str(Path(scratch, "bench.yaml")), "cells": cells}), encoding="utf-8")
        for _ in range(options.runs):
            start = time.perf_counter()
            shown = subprocess.run([options.binary, "show", folder, "--interaction", "rope,quant"], capture_output=True, text=True, check=True).stdout
            print(f"{len(cells)} rows: {time.perf_counter() - start:.1f} s, {shown.count(chr(10))} lines", flush=True)


if __name__ == "__main__":
    main()
