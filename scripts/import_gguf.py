#!/usr/bin/env -S sh -c 'exec "${QROAR_VENV:-$(dirname "$0")/../.venv}/bin/python" "$0" "$@"'
"""Turn a GGUF file of a Llama model with a byte-level BPE tokenizer into a Hugging Face folder.

usage: scripts/import_gguf.py GGUF OUT

OUT gets config.json, model.safetensors (bfloat16), tokenizer.json and tokenizer_config.json.  Block-quantized weights are
dequantized in float32 and rounded once to bfloat16; the result counts as "the model".  llama.cpp stores the rows of Q and K of
each head with the two halves of a rotary pair side by side; Hugging Face keeps the halves apart, and so does OUT.
"""
import argparse
import json
import math
import os
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from gguf_file import GgufFile, by_name
from json_lines import BadInput, printable, shortened

# tokenizer.ggml.pre -> the pre-tokenizer's splitting before BPE.
PRE_TOKENIZERS = {
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
}
TENSORS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
BLOCK_TENSORS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
                 "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
                 "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


# What metadata are; sizes and ids are at most those of the program.
KINDS = {int: "a whole number", float: "a number", str: "a text", list: "an array of texts", np.ndarray: "an array of numbers"}
MOST = 2**31 - 1
PIECE = 1 << 22  # values in memory at a time


def get(source, key, kind, default=None):
    """Returns a value of the metadata, which must be there where it has no default."""
    value = source.fields.get(key, default)
    if value is None:
        raise BadInput(f"metadata key '{key}' is missing")
    if type(value) is not kind:
        raise BadInput(f"metadata key '{key}' is {shortened(value[:9].tolist() if isinstance(value, np.ndarray) else value)}, not {KINDS[kind]}")
    return value


def size(source, key, default=None):
    value = get(source, key, int, default)
    if not 1 <= value <= MOST:
        raise BadInput(f"metadata key '{key}' is {value}, not a size")
    return value


def positive(source, key, default=None):
    """Returns a float32 of the file as its shortest decimal: 1e-05, not 9.999999747378752e-06."""
    value = float(str(np.float32(get(source, key, float, default))))
    if not 0 < value < math.inf:
        raise BadInput(f"metadata key '{key}' is {value}, not a number above 0")
    return value


def token_id(source, key, tokens):
    value = get(source, key, int)
    if not 0 <= value < len(tokens):
        raise BadInput(f"metadata key '{key}' is {value}, and the {len(tokens)} tokens are counted from 0")
    return value


def read_config(source):
    architecture = get(source, "general.architecture", str)
    if architecture != "llama":
        raise BadInput(f"architecture '{architecture}' is not supported; only llama is")
    scaling = [key for key in source.fields if key.startswith("llama.rope.scaling.")] + [
        name for name in source.tensors if name.startswith("rope_")]
    if scaling:
        raise BadInput(f"RoPE scaling is not supported ({', '.join(scaling)})")
    tokens = get(source, "tokenizer.ggml.tokens", list)
    heads, hidden = size(source, "llama.attention.head_count"), size(source, "llama.embedding_length")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(tokens),
        "hidden_size": hidden,
        "intermediate_size": size(source, "llama.feed_forward_length"),
        "num_hidden_layers": size(source, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": size(source, "llama.attention.head_count_kv", heads),
        "head_dim": size(source, "llama.rope.dimension_count", hidden // heads),
        "max_position_embeddings": size(source, "llama.context_length"),
        "rms_norm_eps": positive(source, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": positive(source, "llama.rope.freq_base", 10000.0),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in source.tensors,
        "bos_token_id": token_id(source, "tokenizer.ggml.bos_token_id", tokens),
        "eos_token_id": token_id(source, "tokenizer.ggml.eos_token_id", tokens),
        "torch_dtype": "bfloat16",
    }
    if config["head_dim"] % 2 or heads % config["num_key_value_heads"]:
        raise BadInput(f"{heads} heads of {config['head_dim']} with {config['num_key_value_heads']} key/value heads are no Llama model")
    return config


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


def check_tensors(source, wanted):
    missing, unknown = sorted(wanted.keys() - source.tensors.keys()), sorted(source.tensors.keys() - wanted.keys())
    if missing or unknown:
        problem, names = ("is missing", missing) if missing else ("is not part of a Llama model", unknown)
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise BadInput(f"tensor '{names[0]}'{more} {problem}")
    for name, (_, shape) in wanted.items():
        if source.tensors[name].shape != shape:
            raise BadInput(f"tensor '{name}' has shape {source.tensors[name].shape}, expected {shape}")


def read_weight(source, config, name):
    """Yields a tensor in bfloat16, as the bits, some rows at a time."""
    tensor = source.tensors[name]
    heads = config["head_dim"] if name.endswith(("attn_q.weight", "attn_k.weight")) else 1  # rows that stay together
    step = max(1, PIECE // (heads * tensor.shape[-1])) * heads
    for begin in range(0, tensor.rows, step):
        values = source.read(tensor, begin, min(begin + step, tensor.rows))
        if heads > 1:
            values = split_halves(values, len(values) // heads)
        bits = to_bfloat16_bits(values)
        if not np.isfinite(values).all() or ((bits & 0x7F80) == 0x7F80).any():
            raise BadInput(f"tensor '{name}' holds NaN or infinity, or what is infinity in bfloat16")
        yield bits


def write_safetensors(path, wanted, read):
    """wanted: {GGUF tensor name: (name, shape)}; read(GGUF tensor name) -> its bits, in pieces."""
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in wanted.values():
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, begin + 2 * math.prod(shape)]}
        begin += 2 * math.prod(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in wanted:
            for bits in read(name):
                file.write(bits.tobytes())


def read_tokenizer(source):
    kind, pre = get(source, "tokenizer.ggml.model", str), get(source, "tokenizer.ggml.pre", str, "default")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise BadInput(f"tokenizer '{kind}' with pre-tokenizer '{pre}' is not supported; gpt2 (byte-level BPE) with "
                       f"{', '.join(PRE_TOKENIZERS)} is")
    tokens, types = get(source, "tokenizer.ggml.tokens", list), get(source, "tokenizer.ggml.token_type", np.ndarray).tolist()
    if len(tokens) != len(types):
        raise BadInput(f"{len(tokens)} tokens but {len(types)} token types")
    if odd := set(types) - set(gguf.TokenType):
        raise BadInput(f"token type {min(odd)} is none that GGUF has")
    ids = by_name(((token, index) for index, token in enumerate(tokens)), "token")
    merges = [tuple(merge.split(" ")) for merge in get(source, "tokenizer.ggml.merges", list)]
    for merge in merges:
        if len(merge) != 2 or not {*merge, "".join(merge)} <= ids.keys():
            raise BadInput(f"merge '{' '.join(merge)}' is not of two tokens that are a third one")
    tokenizer = Tokenizer(models.BPE(ids, merges))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    control, user_defined = int(gguf.TokenType.CONTROL), int(gguf.TokenType.USER_DEFINED)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, k in zip(tokens, types) if k == control])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == user_defined])
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "add_bos_token": False}
    for name, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("unk_token", "unknown_token_id")):
        if f"tokenizer.ggml.{key}" in source.fields:
            settings[name] = tokens[token_id(source, f"tokenizer.ggml.{key}", tokens)]
    return tokenizer, settings


def import_gguf(path, out):
    if out.exists():
        raise BadInput(f"{out} exists already; remove it to import again")
    with GgufFile(path) as source:
        config = read_config(source)
        tokenizer, settings = read_tokenizer(source)
        if config["num_hidden_layers"] > max(1, len(source.tensors)):
            raise BadInput(f"metadata key 'llama.block_count' is {config['num_hidden_layers']}, and the file has {len(source.tensors)} tensors")
        wanted = expected_shapes(config)
        check_tensors(source, wanted)
        temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
        temporary.mkdir(parents=True)
        try:
            write_safetensors(temporary / "model.safetensors", wanted, lambda name: read_weight(source, config, name))
            for name, content in (("tokenizer.json", tokenizer.to_str(pretty=True)), ("config.json", json.dumps(config, indent=1) + "\n"),
                                  ("tokenizer_config.json", json.dumps(settings, indent=1) + "\n")):
                (temporary / name).write_text(content, encoding="utf-8")
            temporary.rename(out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", metavar="GGUF", type=Path, help="the file to read")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    arguments = parser.parse_args()
    try:
        import_gguf(arguments.gguf, arguments.out)
    except (BadInput, OSError) as error:
        sys.exit(printable(f"import_gguf: {arguments.gguf}: {error}"))
    print(arguments.out)


if __name__ == "__main__":
    main()
