#!/usr/bin/env python3
"""A model larger than memory: qroar with streamed weights inside a memory cgroup, beside qroar with resident weights outside of it and
transformers with accelerate's disk offload inside it; same checkpoint, tokens, dtype and threads in one run.

usage: bench/compare_offload.py make    FOLDER [--layers 32]     writes a random checkpoint of Llama-2-7B's shape (13.5 GB) and its texts
       bench/compare_offload.py compare FOLDER [--gigabytes 4] [--windows 8] [--length 2048] [--peer-windows 2] [--threads N]
                                [--binary build/release/qroar]
Needs root, to make the cgroup (v1 or v2), and a Python with torch, transformers and accelerate.  Seconds are of the evaluation, without what it takes to
open the model; files are dropped from the page cache before each process.  transformers takes its windows one by one, since logits of several do not
fit; each window takes as long, so that two tell the rate.
"""
import argparse
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

from one_cell import one_cell, output_of

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests"))
from support.program import TINY_BOOKS, tiny_books_tokenizer_hash, write_token_file  # noqa: E402

CGROUPS = Path("/sys/fs/cgroup")
SHAPE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
         "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}
TEXTS = "tokens.tok"


def make(options):
    import torch
    from safetensors.torch import save_file

    folder = options.folder
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(SHAPE | {"num_hidden_layers": options.layers}))
    shutil.copy(TINY_BOOKS / "tokenizer.model", folder)
    random = torch.Generator().manual_seed(0)

    def weight(*shape):
        return (torch.randn(*shape, generator=random) * 0.02).bfloat16()

    hidden, wide, vocabulary = (SHAPE[key] for key in ("hidden_size", "intermediate_size", "vocab_size"))
    one = torch.ones(hidden, dtype=torch.bfloat16)
    index = {}

    def write(name, tensors):
        save_file(tensors, folder / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(tensors, name))

    write("ends.safetensors", {"model.embed_tokens.weight": weight(vocabulary, hidden), "model.norm.weight": one, "lm_head.weight": weight(vocabulary, hidden)})
    for i in range(options.layers):
        shapes = {f"self_attn.{name}_proj": (hidden, hidden) for name in "qkvo"}
        shapes |= {"mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden), "mlp.down_proj": (hidden, wide)}
        tensors = {f"{name}.weight": weight(*shape) for name, shape in shapes.items()}
        tensors |= {"input_layernorm.weight": one, "post_attention_layernorm.weight": one.clone()}
        write(f"layer{i}.safetensors", {f"model.layers.{i}.{name}": tensor for name, tensor in tensors.items()})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    documents = torch.randint(3, 4096, (16, 8192), generator=random).numpy()  # tokens that the tokenizer knows
    write_token_file(folder / TEXTS, tiny_books_tokenizer_hash(), {str(i): tokens for i, tokens in enumerate(documents)})


@contextlib.contextmanager
def memory_cgroup(gigabytes):
    """A command prefix that runs a command with so little memory, page cache included."""
    parent = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
    group = parent / f"qroar-bench-{os.getpid()}"
    group.mkdir()
    try:
        limit = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
        (group / limit).write_text(str(int(gigabytes * 2**30)))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        group.rmdir()


def drop_from_page_cache(folder):
    for file in folder.glob("*.safetensors"):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)  # what is not on the disk yet stays
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def experiment_of(options, weights):
    """The evaluation of the first windows of the folder's texts."""
    return {"model": {"path": str(options.folder.resolve()), "dtype": "bfloat16", "weights": weights}, "rope": {"type": "none"},
            "data": {"path": str((options.folder / TEXTS).resolve()), "documents": options.windows},
            "windows": {"length": options.length, "truncate": True, "bos": False}}


def ours(options, weights, prefix):
    drop_from_page_cache(options.folder)
    experiment = experiment_of(options, weights)
    with one_cell(options.binary, experiment, options.threads, prefix) as (row, _):
        return row["seconds"] / options.windows, row["metrics"]["nll"]["value"], row["peak_bytes"] / 2**30


def peer(options, prefix):
    drop_from_page_cache(options.folder)
    command = [*prefix, sys.executable, __file__, "worker", str(options.folder), "--length", str(options.length),
               "--peer-windows", str(options.peer_windows), "--threads", str(options.threads)]
    return json.loads(output_of(command).splitlines()[-1])


def worker(options):
    import tempfile
    import time

    import torch
    from compare_transformers import read_documents
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as offload:
        model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.bfloat16, attn_implementation="sdpa", device_map="auto",
                                                     max_memory={"cpu": "1GiB"}, offload_folder=offload)
        windows = [torch.from_numpy(window)[None] for window in read_documents(options.folder / TEXTS, options.length)[: options.peer_windows]]
        start = time.perf_counter()
        with torch.inference_mode():
            losses = [model(window, labels=window, use_cache=False).loss.item() for window in windows]
    print(json.dumps([(time.perf_counter() - start) / len(windows), sum(losses) / len(losses)]))


def compare(options):
    with memory_cgroup(options.gigabytes) as prefix:
        seconds, nll, memory = ours(options, "streamed", prefix)
        print(f"streamed in {options.gigabytes:g} GiB: {seconds:.1f} s a window, nll {nll:.4f}, peak {memory:.1f} GiB", flush=True)
        theirs, their_nll = peer(options, prefix)
        print(f"transformers with accelerate in {options.gigabytes:g} GiB: {theirs:.1f} s a window, nll {their_nll:.4f}; {theirs / seconds:.2f} times as long",
              flush=True)
    resident, resident_nll, memory = ours(options, "resident", [])
    print(f"resident: {resident:.1f} s a window, nll {resident_nll:.4f}, peak {memory:.1f} GiB; streamed has {resident / seconds:.3f} of its speed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "compare", "worker"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--peer-windows", type=int, default=2)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default="build/release/qroar")
    options = parser.parse_args()
    {"make": make, "compare": compare, "worker": worker}[options.what](options)


if __name__ == "__main__":
    main()
