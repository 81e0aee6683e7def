#!/usr/bin/env python3
"""Perplexity of one window side by side: qroar against transformers (sdpa), same model, tokens, dtype and threads, alternating in one run.

usage: bench/compare_transformers.py MODEL_FOLDER TOKENS.tok [--length 8192] [--repeats 3] [--dtype bfloat16] [--threads N]
Each measurement is a process of its own.  Timed is the work from tokens to the mean loss, after loading and without a warm-up on
either side; transformers computes it the usual way, model(input_ids, labels=input_ids).  Quote the ratio: times on shared machines drift.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from one_cell import one_cell

REPO = Path(__file__).resolve().parents[1]


def read_documents(path, length=None):
    """The first `length` tokens of each document that has as many, or all documents; the format is src/data/token_file.h's."""
    import numpy

    blob = Path(path).read_bytes()
    if blob[:8] != b"QROARTOK":
        sys.exit(f"{path}: no token file; make one with scripts/tokenize_texts.py")
    header_bytes = int.from_bytes(blob[12:16], "little")
    documents = len(json.loads(blob[16 : 16 + header_bytes])["ids"])
    begin = 16 + header_bytes
    offsets = numpy.frombuffer(blob, numpy.int64, documents + 1, begin)
    tokens = numpy.frombuffer(blob, numpy.int32, offsets[-1], begin + 8 * (documents + 1))
    windows = [tokens[start : start + length if length else end].astype(numpy.int64) for start, end in zip(offsets, offsets[1:]) if end - start >= (length or 0)]
    return windows or sys.exit(f"{path}: no document of {length} tokens")


def transformers_worker(options):
    """Child process: prints one line of JSON."""
    import resource
    import time

    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype), attn_implementation="sdpa")
    tokens = torch.from_numpy(read_documents(options.tokens, options.length)[0])[None]
    with torch.inference_mode():
        start = time.perf_counter()
        loss = model(tokens, labels=tokens, use_cache=False).loss.item()
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "nll": loss, "peak_bytes": peak}))


def measure_transformers(options):
    arguments = [sys.executable, __file__, options.model, options.tokens, "--worker", "--length", str(options.length), "--dtype", options.dtype,
                 "--threads", str(options.threads)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_qroar(options):
    experiment = {"model": {"path": os.path.abspath(options.model), "dtype": options.dtype, "device": "cpu"},
                  "data": {"path": os.path.abspath(options.tokens), "documents": 1, "min_tokens": options.length},
                  "windows": {"length": options.length, "truncate": True, "bos": False}}
    with one_cell(options.binary, experiment, options.threads) as (row, _):
        return {"seconds": row["seconds"], "nll": row["metrics"]["nll"]["value"], "peak_bytes": row["peak_bytes"],
                "tflops": row["model_tflops_per_second"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tokens")
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default=str(REPO / "build/release/qroar"))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return transformers_worker(options)

    peers = {"transformers": measure_transformers, "qroar": measure_qroar}
    runs = {name: [] for name in peers}
    for repeat in range(options.repeats):
        for name, measure in peers.items():
            runs[name].append(measure(options))
            last = runs[name][-1]
            print(f"{repeat + 1}/{options.repeats} {name:13} {last['seconds']:7.2f} s  nll {last['nll']:.5f}  peak {last['peak_bytes'] / 1e9:.2f} GB",
                  flush=True)
    ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in zip(runs["transformers"], runs["qroar"])]
    best = {name: min(run["seconds"] for run in done) for name, done in runs.items()}
    print(f"{options.length} tokens, {options.dtype}, {options.threads} threads: best {best['transformers']:.2f} s against {best['qroar']:.2f} s, "
          f"ratio {best['transformers'] / best['qroar']:.2f} (of pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; "
          f"median {statistics.median(ratios):.2f}); qroar {max(run['tflops'] for run in runs['qroar']):.3f} model TFLOP/s")


if __name__ == "__main__":
    main()
