#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""Turn a GGUF file of a Llama model into a Hugging Face folder.

usage: scripts/import_gguf.py GGUF OUT [--dtype DTYPE]

OUT gets config.json, model.safetensors, tokenizer.json or tokenizer.model, tokenizer_config.json, and imported.json, which says what the
weights went through.  Block-quantized weights are dequantized in float32 and rounded once to DTYPE, which is bfloat16 unless told otherwise.  llama.cpp
stores the rows of Q and K of each head with the two halves of a rotary pair side by side; Hugging Face keeps the halves apart, and so does OUT.
RoPE scaling, in metadata or in rope_freqs.weight, becomes rope_scaling of config.json.
"""
import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

from gguf_fields import check_all_read, get, positive, size, token_id
from gguf_file import GgufFile
from gguf_record import record
from gguf_rope import TENSORS as ROPE_TENSORS
from gguf_rope import read_rope
from gguf_tokenizer import read_tokenizer
from importing.seen import Seen
from importing.whole import check_utf8, made_whole
from json_lines import BadInput, of_the_system, printable, stop_in_one_line

TENSORS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
BLOCK_TENSORS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
                 "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
                 "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


PIECE = 1 << 22  # values in memory at a time


def read_config(source, dtype):
    architecture = get(source, "general.architecture", str)
    if architecture != "llama":
        raise BadInput(f"architecture '{architecture}' is not supported; only llama is")
    if (parts := get(source, "split.count", int, 1)) > 1:
        raise BadInput(f"is one of {parts} parts of a model (split.count); merge them with llama.cpp's llama-gguf-split --merge")
    tokens = get(source, "tokenizer.ggml.tokens", list)
    heads, hidden = size(source, "llama.attention.head_count"), size(source, "llama.embedding_length")
    key_length = size(source, "llama.attention.key_length", hidden // heads)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(tokens),
        "hidden_size": hidden,
        "intermediate_size": size(source, "llama.feed_forward_length"),
        "num_hidden_layers": size(source, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": size(source, "llama.attention.head_count_kv", heads),
        "head_dim": size(source, "llama.rope.dimension_count", key_length),
        "max_position_embeddings": size(source, "llama.context_length"),
        "rms_norm_eps": positive(source, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": positive(source, "llama.rope.freq_base", 10000.0),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in source.tensors,
        "bos_token_id": token_id(source, "tokenizer.ggml.bos_token_id", tokens),
        "eos_token_id": token_id(source, "tokenizer.ggml.eos_token_id", tokens),
        "torch_dtype": dtype,
    }
    if config["head_dim"] % 2 or heads % config["num_key_value_heads"]:
        raise BadInput(f"{heads} heads of {config['head_dim']} with {config['num_key_value_heads']} key/value heads are no Llama model")
    for key in ("llama.attention.key_length", "llama.attention.value_length"):
        if size(source, key, config["head_dim"]) != config["head_dim"]:
            raise BadInput(f"metadata key '{key}' is {source.fields[key]}, and RoPE turns {config['head_dim']}, which no Llama model does")
    if "llama.attention.sliding_window" in source.fields:
        config["sliding_window"] = size(source, "llama.attention.sliding_window")
    scaling = read_rope(source, config)
    check_all_read(source)
    return config | {"rope_scaling": scaling} if scaling else config


def expected_shapes(config):
    """Returns {GGUF tensor name: (Hugging Face name, shape)}."""
    hidden, inner, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    block = {"attn_norm": (hidden,), "ffn_norm": (hidden,), "attn_q": (q, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden),
             "attn_output": (hidden, q), "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden), "ffn_down": (hidden, inner)}
    top = {"token_embd.weight": (config["vocab_size"], hidden), "output_norm.weight": (hidden,)}
    if not config["tie_word_embeddings"]:
        top["output.weight"] = (config["vocab_size"], hidden)
    wanted = {name: (TENSORS[name], shape) for name, shape in top.items()}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in block.items():
            wanted[f"blk.{layer}.{name}.weight"] = (f"model.layers.{layer}.{BLOCK_TENSORS[name]}.weight", shape)
    return wanted


def split_halves(rows, heads):
    """Reorders the rows of each head from adjacent pairs (0, d/2, 1, d/2+1, ...) to Hugging Face's order (0, 1, ..., d-1)."""
    pairs = rows.shape[0] // heads // 2
    return rows.reshape(heads, pairs, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def to_bfloat16_bits(values):
    """Converts float32 to bfloat16 as uint16, rounding to nearest, ties to even."""
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


# What --dtype names: the name of safetensors, bytes of a value, float32 -> what is stored, what is stored -> whether it is finite.
DTYPES = {"bfloat16": ("BF16", 2, to_bfloat16_bits, lambda bits: (bits & 0x7F80) != 0x7F80),
          "float16": ("F16", 2, lambda values: values.astype("<f2"), np.isfinite), "float32": ("F32", 4, lambda values: values.astype("<f4"), np.isfinite)}


def check_tensors(source, wanted):
    missing, unknown = sorted(wanted.keys() - source.tensors.keys()), sorted(source.tensors.keys() - wanted.keys() - set(ROPE_TENSORS))
    if missing or unknown:
        problem, names = ("is missing", missing) if missing else ("is not part of a Llama model", unknown)
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise BadInput(f"tensor '{names[0]}'{more} {problem}")
    for name, (_, shape) in wanted.items():
        if source.tensors[name].shape != shape:
            raise BadInput(f"tensor '{name}' has shape {source.tensors[name].shape}, expected {shape}")


def read_weight(source, config, name):
    """Yields what is stored of a tensor, some rows at a time."""
    dtype = config["torch_dtype"]
    _, _, stored, is_finite = DTYPES[dtype]
    tensor = source.tensors[name]
    heads = config["head_dim"] if name.endswith(("attn_q.weight", "attn_k.weight")) else 1  # rows that stay together
    step = max(1, PIECE // (heads * tensor.shape[-1])) * heads
    for begin in range(0, tensor.rows, step):
        values = source.read(tensor, begin, min(begin + step, tensor.rows))
        if heads > 1:
            values = split_halves(values, len(values) // heads)
        with np.errstate(over="ignore"):
            kept = stored(values)
        if not np.isfinite(values).all() or not is_finite(kept).all():
            raise BadInput(f"tensor '{name}' holds NaN or infinity, or what is infinity in {dtype}")
        yield kept


def write_safetensors(path, wanted, dtype, read):
    """wanted: {GGUF tensor name: (name, shape)}; read(GGUF tensor name) -> what is stored of it, in pieces."""
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    called, each = DTYPES[dtype][:2]
    for name, shape in wanted.values():
        header[name] = {"dtype": called, "shape": list(shape), "data_offsets": [begin, begin + each * math.prod(shape)]}
        begin += each * math.prod(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in wanted:
            for piece in read(name):
                file.write(piece.tobytes())


def import_gguf(path, out, dtype="bfloat16"):
    if out.exists():
        raise BadInput(f"{out} exists already; remove it to import again")
    check_utf8(path.absolute())
    seen = Seen()
    with GgufFile(seen.add(path)) as source:
        config = read_config(source, dtype)
        files = read_tokenizer(source)
        if config["num_hidden_layers"] > max(1, len(source.tensors)):
            raise BadInput(f"metadata key 'llama.block_count' is {config['num_hidden_layers']}, and the file has {len(source.tensors)} tensors")
        wanted = expected_shapes(config)
        check_tensors(source, wanted)
        for name, value in {"config.json": config, "imported.json": record(source, path, wanted)}.items():
            files[name] = (json.dumps(value, indent=1) + "\n").encode()
        with made_whole(out) as temporary:
            write_safetensors(temporary / "model.safetensors", wanted, dtype, lambda name: read_weight(source, config, name))
            for name, content in files.items():
                (temporary / name).write_bytes(content)
            seen.check()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", metavar="GGUF", type=Path, help="the file to read")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of the weights in OUT; float32 is what the file's formats define")
    arguments = parser.parse_args()
    stop_in_one_line("import_gguf")
    try:
        import_gguf(arguments.gguf, arguments.out, arguments.dtype)
    except BadInput as error:
        sys.exit(printable(f"import_gguf: {arguments.gguf}: {error}"))
    except OSError as error:
        sys.exit(printable(f"import_gguf: {of_the_system(error, arguments.out)}"))
    print(arguments.out)


if __name__ == "__main__":
    main()
