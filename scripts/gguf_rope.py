"""The RoPE scaling of a GGUF file as config.json spells it.

llama.cpp divides the frequency of each pair by a number of the tensor rope_freqs.weight, which is how Llama 3.1 comes; or the metadata name one of
its schemes, whose formulas are those of transformers under the same names."""
import math

import numpy as np

from gguf_fields import get, positive, size
from json_lines import BadInput

PREFIX = "llama.rope.scaling."
TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}  # of all its versions


def divisors(source, name, pairs):
    """Returns a tensor of numbers for the pairs as the shortest decimals that are these float32."""
    tensor = source.tensors.get(name)
    if tensor is None:
        raise BadInput(f"tensor '{name}' is missing")
    if tensor.shape != (pairs,):
        raise BadInput(f"tensor '{name}' has shape {tensor.shape}, expected {(pairs,)}")
    values = source.read(tensor, 0, tensor.rows).ravel()
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise BadInput(f"tensor '{name}' holds what is no number above 0")
    return [float(str(value)) for value in values]


def llama_3_divisors(factor, theta, pairs):
    """Returns what Llama 3's scheme divides frequencies by: 1 for short waves, the factor for long ones, a blend of the frequencies between."""
    low, high, trained = LLAMA_3.values()
    turns = trained / (2 * math.pi) * theta ** (-np.arange(pairs) / pairs)  # within the trained length
    blend = ((turns - low) / (high - low)).clip(0, 1)
    return 1 / ((1 - blend) / factor + blend)


def of_frequencies(source, config):
    pairs = config["head_dim"] // 2
    found = divisors(source, TENSORS[0], pairs)
    factor = max(found)
    if np.allclose(found, llama_3_divisors(factor, config["rope_theta"], pairs), rtol=1e-5, atol=0) and factor > 1:
        return {"rope_type": "llama3", "factor": factor} | LLAMA_3
    return longrope(found, found, 1.0, config["max_position_embeddings"])


def longrope(short, long, attention, trained):
    return {"rope_type": "longrope", "short_factor": short, "long_factor": long, "attention_factor": attention, "original_max_position_embeddings": trained}


def read_rope(source, config):
    """Returns rope_scaling of config.json, or None for plain RoPE."""
    old = "llama.rope.scale_linear"
    kind = get(source, PREFIX + "type", str, "linear" if old in source.fields or PREFIX + "factor" in source.fields else "none")
    if kind not in ("none", "linear", "yarn", "longrope"):
        raise BadInput(f"metadata key '{PREFIX}type' is '{kind}', not none, linear, yarn or longrope")
    others = TENSORS[:1] if kind == "longrope" else TENSORS[1:] if kind == "none" else TENSORS
    if leftover := [name for name in others if name in source.tensors]:
        raise BadInput(f"tensor '{leftover[0]}' and RoPE scaling of type '{kind}' are in one file, which no model has")
    if kind == "none":
        source.asked.add(PREFIX + "factor")  # which counts for the other types
        return of_frequencies(source, config) if TENSORS[0] in source.tensors else None
    stated = old if PREFIX + "factor" not in source.fields and old in source.fields else PREFIX + "factor"
    trained = size(source, PREFIX + "original_context_length", config["max_position_embeddings"])
    if kind == "linear":
        own = {"original_max_position_embeddings": trained} if trained != config["max_position_embeddings"] else {}
        return {"rope_type": "linear", "factor": positive(source, stated)} | own
    attention = positive(source, PREFIX + "attn_factor", 1.0)
    if kind == "longrope":
        short, long = (divisors(source, name, config["head_dim"] // 2) for name in TENSORS[:0:-1])
        return longrope(short, long, attention, trained)
    factor = positive(source, stated)
    scaling = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained}
    scaling |= {name: positive(source, f"{PREFIX}yarn_{name}") for name in ("beta_fast", "beta_slow") if f"{PREFIX}yarn_{name}" in source.fields}
    if attention != 1:  # llama.cpp multiplies it with YaRN's own
        scaling["attention_factor"] = attention * (0.1 * math.log(factor) + 1 if factor > 1 else 1)
    return scaling
