#!/usr/bin/env python3
"""Speed per floating-point operation of the model families against Llama's at one shape (0.2 B parameters, random weights), and the time per token of a
sliding window against the length.

usage: bench/families.py [--length 4096] [--runs 2] [--window 1024] [--threads N] [--binary build/release/qroar]
Needs transformers, which writes the checkpoints.  The operations are those that `model_tflops_per_second` counts, the same formula for all families;
families take turns, and each rate is the best of the runs.
"""
import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from one_cell import one_cell

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests"))
from support.program import TINY_BOOKS, tiny_books_tokenizer_hash, write_token_file  # noqa: E402

SHAPE = {"vocab_size": 8192, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16, "num_key_value_heads": 8,
         "max_position_embeddings": 65536, "rms_norm_eps": 1e-5, "bos_token_id": 1,
         "eos_token_id": 2, "pad_token_id": None}
FAMILIES = {
    "llama": (transformers.LlamaConfig, {}),
    "mistral": (transformers.MistralConfig, {"sliding_window": None}),
    "qwen2": (transformers.Qwen2Config, {}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 64}),
    "phi3": (transformers.Phi3Config, {}),
    "granite": (transformers.GraniteConfig, {"residual_multiplier": 0.2, "attention_multiplier": 0.02}),
    "smollm3": (transformers.SmolLM3Config, {"no_rope_layer_interval": 4}),
    "llama, half of a head rotated": (transformers.LlamaConfig, {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
}


def make(folder, kind, changes):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(kind(**(SHAPE | changes)), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    shutil.copy(TINY_BOOKS / "tokenizer.model", folder)


def measure(options, folder, length):
    write_token_file(folder / "random.tok", tiny_books_tokenizer_hash(), {"random": torch.randint(3, 4096, (length,)).numpy()})
    experiment = {"model": {"path": str(folder), "dtype": "bfloat16"}, "rope": {"type": "none"}, "data": {"path": str(folder / "random.tok")},
                  "windows": {"length": length, "truncate": True, "bos": False}}
    with one_cell(options.binary, experiment, options.threads) as (row, _):
        return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default="build/release/qroar")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place, str(i)) for i, name in enumerate(FAMILIES)}
        for name, folder in folders.items():
            make(folder, *FAMILIES[name])
        rates = {name: 0.0 for name in FAMILIES}
        for _ in range(options.runs):
            for name, folder in folders.items():
                rates[name] = max(rates[name], measure(options, folder, options.length)["model_tflops_per_second"])
        for name, rate in rates.items():
            print(f"{name}: {rate:.3f} TFLOP/s, {rate / rates['llama']:.2f} of llama's")
        sliding = Path(place, "sliding")
        make(sliding, transformers.MistralConfig, {"sliding_window": options.window})
        for length in (4096, 8192, 16384, 32768):
            seconds = min(measure(options, sliding, length)["seconds"] for _ in range(options.runs))
            print(f"mistral with a window of {options.window} at {length} tokens: {1e3 * seconds / length:.3f} ms a token", flush=True)


if __name__ == "__main__":
    main()
