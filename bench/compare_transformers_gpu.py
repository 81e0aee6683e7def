#!/usr/bin/env python3
"""Llama-2-7B's shape with random weights on a GPU: qroar beside transformers (sdpa), bfloat16, in one run on one card.

usage: python3 bench/compare_transformers_gpu.py FOLDER QROAR [--lengths 4096 16384]
FOLDER: where the model (13.5 GB) and random tokens are made, once.  QROAR: the program; where it runs from a bundle, set LD_LIBRARY_PATH.
Python needs torch, transformers, safetensors, numpy and xxhash.  A process' first window takes up to a second longer (libraries load their
kernels), so qroar's time of a window is that of many windows less that of few, divided by their difference; transformers runs in one process,
its first window left out.  Hosts of such machines differ several times over in what a kernel launch costs: quote ratios of one run.
"""
import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from one_cell import one_cell

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests"))
HIDDEN, INTERMEDIATE, LAYERS, VOCABULARY = 4096, 11008, 32, 32000
DOCUMENTS, TOKENS = 12, 131072


def make(folder):
    import numpy
    import torch
    from safetensors.torch import save_file
    from support.program import TINY_BOOKS, tiny_books_tokenizer_hash, write_token_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
              "num_hidden_layers": LAYERS, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": VOCABULARY,
              "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 1,
              "eos_token_id": 2, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)

    def weight(*shape):
        return (torch.randn(*shape, device="cuda") * 0.02).bfloat16().cpu()

    norm, names = torch.ones(HIDDEN).bfloat16(), {}

    def save(name, tensors):
        save_file(tensors, folder / name, metadata={"format": "pt"})
        names.update(dict.fromkeys(tensors, name))

    for first in range(0, LAYERS, 8):
        tensors = {}
        for layer in range(first, first + 8):
            own = f"model.layers.{layer}."
            tensors |= {f"{own}self_attn.{part}_proj.weight": weight(HIDDEN, HIDDEN) for part in "qkvo"}
            tensors |= {f"{own}mlp.{part}_proj.weight": weight(INTERMEDIATE, HIDDEN) for part in ("gate", "up")}
            tensors[f"{own}mlp.down_proj.weight"] = weight(HIDDEN, INTERMEDIATE)
            tensors |= {f"{own}{part}_layernorm.weight": norm.clone() for part in ("input", "post_attention")}
        save(f"model-{first}.safetensors", tensors)
    save("model-rest.safetensors", {"model.embed_tokens.weight": weight(VOCABULARY, HIDDEN) * 50, "lm_head.weight": weight(VOCABULARY, HIDDEN),
                                    "model.norm.weight": norm})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    shutil.copy(TINY_BOOKS / "tokenizer.model", folder)  # only its hash counts: the tokens are random
    tokens = numpy.random.default_rng(0).integers(3, VOCABULARY, (DOCUMENTS, TOKENS), dtype=numpy.int32)
    documents = {f"random {number}": row for number, row in enumerate(tokens)}
    write_token_file(folder / "random.tok", tiny_books_tokenizer_hash(), documents, VOCABULARY)


def run_qroar(options, length, documents):
    """(seconds, windows, mean loss, peak GB)"""
    experiment = {"model": {"path": str(options.folder.resolve()), "dtype": "bfloat16", "device": "cuda"},
                  "data": {"path": str(options.folder.resolve() / "random.tok"), "documents": documents}, "windows": {"length": length, "bos": False}}
    with one_cell(options.qroar, experiment) as (row, cell):
        windows = (cell / "windows.csv").read_text().count("\n") - 1
    return row["seconds"], windows, row["metrics"]["nll"]["value"], row["peak_bytes"] / 1e9


def run_transformers(folder, lengths):
    import numpy
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa", device_map="cuda")
    bytes_of_tokens = (folder / "random.tok").read_bytes()[-4 * DOCUMENTS * TOKENS :]
    documents = numpy.frombuffer(bytes_of_tokens, numpy.int32).reshape(DOCUMENTS, TOKENS).astype(numpy.int64)
    with torch.inference_mode():
        for length in lengths:
            seconds, losses = [], []
            for document in documents[:6]:
                tokens = torch.from_numpy(document[:length])[None].cuda()
                torch.cuda.synchronize()
                start = time.perf_counter()
                losses.append(model(tokens, labels=tokens, use_cache=False).loss.item())
                seconds.append(time.perf_counter() - start)
            print(f"transformers {length}: {1e3 * numpy.mean(seconds[1:]):.1f} ms a window, mean loss {numpy.mean(losses):.5f}, "
                  f"peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("qroar")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16384])
    options = parser.parse_args()
    if not (options.folder / "random.tok").exists():
        make(options.folder)
    for length in options.lengths:
        few, many = run_qroar(options, length, 1), run_qroar(options, length, 4)
        print(f"qroar {length}: {1e3 * (many[0] - few[0]) / (many[1] - few[1]):.1f} ms a window (of {many[1] - few[1]}), "
              f"mean loss {many[2]:.5f}, peak {many[3]:.1f} GB", flush=True)
    run_transformers(options.folder, options.lengths)


if __name__ == "__main__":
    sys.exit(main())
