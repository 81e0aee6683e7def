#!/usr/bin/env -S sh -c 'exec "${QROAR_VENV:-$(dirname "$0")/../.venv}/bin/python" "$0" "$@"'
"""Turn a GGUF file of a Llama model with a byte-level BPE tokenizer into a Hugging Face folder.

usage: scripts/import_gguf.py GGUF OUT

OUT gets config.json, model.safetensors (bfloat16), tokenizer.json and tokenizer_config.json.  Block-quantized weights are
dequantized in float32 and rounded once to bfloat16; the result counts as "the model".  llama.cpp stores the rows of Q and K of
each head with the two halves of a rotary pair side by side; Hugging Face keeps the halves apart, and so does OUT.
"""
import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

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


class BadFile(Exception):
    """One line that says what is wrong with the GGUF file."""


class Source:
    """A GGUF file: required and optional metadata by key, tensors by name."""

    def __init__(self, path):
        try:
            reader = gguf.GGUFReader(path)
        except (ValueError, IndexError, OSError) as error:
            raise BadFile(f"not a readable GGUF file ({error})") from error
        self.fields = reader.fields
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def get(self, key, default=None):
        if key in self.fields:
            return self.fields[key].contents()
        if default is None:
            raise BadFile(f"metadata key '{key}' is missing")
        return default


def shortest(value):
    """Returns a float32 of the file as its shortest decimal: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def read_config(source):
    architecture = source.get("general.architecture")
    if architecture != "llama":
        raise BadFile(f"architecture '{architecture}' is not supported; only llama is")
    scaling = [key for key in source.fields if key.startswith("llama.rope.scaling.")] + [
        name for name in source.tensors if name.startswith("rope_")]
    if scaling:
        raise BadFile(f"RoPE scaling is not supported ({', '.join(scaling)})")
    heads, hidden = source.get("llama.attention.head_count"), source.get("llama.embedding_length")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(source.get("tokenizer.ggml.tokens")),
        "hidden_size": hidden,
        "intermediate_size": source.get("llama.feed_forward_length"),
        "num_hidden_layers": source.get("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": source.get("llama.attention.head_count_kv", heads),
        "head_dim": source.get("llama.rope.dimension_count", hidden // heads),
        "max_position_embeddings": source.get("llama.context_length"),
        "rms_norm_eps": shortest(source.get("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": shortest(source.get("llama.rope.freq_base", 10000.0)),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in source.tensors,
        "bos_token_id": source.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": source.get("tokenizer.ggml.eos_token_id"),
        "torch_dtype": "bfloat16",
    }
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


def read_weights(source, config):
    wanted = expected_shapes(config)
    missing, unknown = sorted(wanted.keys() - source.tensors.keys()), sorted(source.tensors.keys() - wanted.keys())
    if missing or unknown:
        problem, names = ("is missing", missing) if missing else ("is not part of a Llama model", unknown)
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise BadFile(f"tensor '{names[0]}'{more} {problem}")
    weights = {}
    for name, (target, shape) in wanted.items():
        tensor = source.tensors[name]
        if tuple(reversed(tensor.shape.tolist())) != shape:
            raise BadFile(f"tensor '{name}' has shape {tuple(reversed(tensor.shape.tolist()))}, expected {shape}")
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        if not np.isfinite(values).all():
            raise BadFile(f"tensor '{name}' holds NaN or infinity")
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = config["num_attention_heads" if "attn_q" in name else "num_key_value_heads"]
            values = split_halves(values, heads)
        weights[target] = to_bfloat16_bits(values)
    return weights


def write_safetensors(path, weights):
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for name, bits in weights.items():
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [begin, begin + bits.nbytes]}
        begin += bits.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for bits in weights.values():
            file.write(bits.tobytes())


def read_tokenizer(source):
    kind, pre = source.get("tokenizer.ggml.model"), source.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise BadFile(f"tokenizer '{kind}' with pre-tokenizer '{pre}' is not supported; gpt2 (byte-level BPE) with "
                           f"{', '.join(PRE_TOKENIZERS)} is")
    tokens, types = source.get("tokenizer.ggml.tokens"), source.get("tokenizer.ggml.token_type")
    if len(tokens) != len(types):
        raise BadFile(f"{len(tokens)} tokens but {len(types)} token types")
    merges = [tuple(merge.split(" ")) for merge in source.get("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    control, user_defined = int(gguf.TokenType.CONTROL), int(gguf.TokenType.USER_DEFINED)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, k in zip(tokens, types) if k == control])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == user_defined])
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "add_bos_token": False}
    for name, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("unk_token", "unknown_token_id")):
        if f"tokenizer.ggml.{key}" in source.fields:
            settings[name] = tokens[source.get(f"tokenizer.ggml.{key}")]
    return tokenizer, settings


def import_gguf(path, out):
    if out.exists():
        raise BadFile(f"{out} exists already; remove it to import again")
    source = Source(path)
    config = read_config(source)
    tokenizer, settings = read_tokenizer(source)
    weights = read_weights(source, config)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        write_safetensors(temporary / "model.safetensors", weights)
        tokenizer.save(str(temporary / "tokenizer.json"))
        for name, content in (("config.json", config), ("tokenizer_config.json", settings)):
            (temporary / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
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
    except (BadFile, OSError) as error:
        sys.exit(f"import_gguf: {arguments.gguf}: {error}")
    print(arguments.out)


if __name__ == "__main__":
    main()
