#!/usr/bin/env python3
"""Calibration side by side: GPTQ and AWQ of qroar and of llm-compressor, same model, tokens, format (W4, groups of 64), dtype and threads in one run.

usage: bench/compare_calibration.py MODEL TOKENS.tok --peer FOLDER [--methods gptq awq] [--samples 128] [--length 512] [--threads N] [--binary build/release/qroar]
FOLDER holds llm-compressor's packages beside those of scripts/setup --test, made by
  .venv/bin/pip install --target FOLDER --no-deps llmcompressor==0.14.0.1 compressed-tensors==0.19.0 loguru auto-round==0.15.1 nvidia-ml-py pillow
Ours is the whole process with one window of 64 tokens and an empty cache; theirs is oneshot() alone, without imports and loading.
"""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from one_cell import one_cell, output_of

METHODS = ("gptq", "awq")


def ours(options, method):
    path = str(Path(options.tokens).resolve())
    experiment = {"model": {"path": str(Path(options.model).resolve()), "dtype": "bfloat16"},
                  "data": {"path": path, "documents": 1}, "windows": {"length": 64, "truncate": True},
                  "quant": [{"match": "layers.*", "weight": {"type": method, "bits": 4, "group": 64}}],
                  "calibration": {"data": {"path": path}, "samples": options.samples, "length": options.length}}
    before = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache, one_cell(options.binary, experiment, options.threads, ["env", f"QROAR_CACHE={cache}"]):
        return time.perf_counter() - before


def theirs(options, method):
    command = [sys.executable, __file__, options.model, options.tokens, "--peer", options.peer, "--samples", str(options.samples),
               "--length", str(options.length), "--threads", str(options.threads), "--worker", method]
    environment = os.environ | {"PYTHONPATH": f"{options.peer}:{Path(__file__).parent}", "HF_HUB_OFFLINE": "1"}
    return float(output_of(command, environment).splitlines()[-1])


def worker(options):
    import numpy
    import torch
    from compare_transformers import read_documents
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    if not torch.cuda.is_available():
        torch.Tensor.pin_memory = lambda tensor, *_: tensor  # its AWQ pins memory even where no GPU would read it
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    tokens = numpy.concatenate(read_documents(options.tokens))
    samples = tokens[: options.samples * options.length].reshape(options.samples, options.length)
    texts = Dataset.from_dict({"input_ids": samples.tolist(), "attention_mask": numpy.ones_like(samples).tolist()})
    weights = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 64}
    scheme = {"ignore": ["lm_head"], "config_groups": {"all": {"targets": ["Linear"], "weights": weights}}}
    recipe = [GPTQModifier(**scheme)] if options.worker == "gptq" else [AWQModifier(), QuantizationModifier(**scheme)]
    before = time.perf_counter()
    oneshot(model=model, dataset=texts, recipe=recipe, max_seq_length=options.length, num_calibration_samples=options.samples)
    print(time.perf_counter() - before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tokens")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default="build/release/qroar")
    parser.add_argument("--worker", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    for method in options.methods:
        own, peer = ours(options, method), theirs(options, method)
        print(f"{method}: qroar {own:.1f} s, llm-compressor {peer:.1f} s, {peer / own:.2f} times as long", flush=True)
    return None


if __name__ == "__main__":
    main()
