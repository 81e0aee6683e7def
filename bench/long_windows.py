#!/usr/bin/env python3
"""The share of the cores' bfloat16 peak that one long window reaches, by length and head_dim, and its memory: a model of few layers with random weights
and grouped queries, in which attention is as large a part as in a deep one.

usage: bench/long_windows.py [--lengths 8192,32768,131072] [--head-dims 64,128] [--layers 3] [--threads N] [--build build/release]
The peak is measured in between by bf16_peak of the build folder.  Needs transformers, which writes the checkpoints.
"""
import argparse
import os
import tempfile
from pathlib import Path

import transformers
from families import SHAPE, make, measure
from one_cell import output_of


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="8192,32768,131072")
    parser.add_argument("--head-dims", default="64,128")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--build", type=Path, default=Path("build/release"))
    options = parser.parse_args()
    options.binary = options.build / "qroar"
    for head_dim in map(int, options.head_dims.split(",")):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "model")
            heads = SHAPE["hidden_size"] // head_dim
            make(folder, transformers.LlamaConfig, {"num_hidden_layers": options.layers, "num_attention_heads": heads, "num_key_value_heads": heads // 2,
                                                    "max_position_embeddings": 131072})
            for length in map(int, options.lengths.split(",")):
                peak = float(output_of([options.build / "bench/bf16_peak", str(options.threads)]))
                row = measure(options, folder, length)
                print(f"head_dim {head_dim}, {length} tokens: {row['model_tflops_per_second']:.3f} TFLOP/s, "
                      f"{row['model_tflops_per_second'] / peak:.2f} of the peak, {row['seconds']:.1f} s, {row['peak_bytes'] / 1e9:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
