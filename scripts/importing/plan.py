"""Which tensors of a checkpoint are quantized layers, which are plain, and what has to be true of both."""
import re

import torch

from importing.layer import FLOATS, Layer, spelled
from importing.source import DERIVED
from json_lines import BadInput, shortened

FAMILIES = ("granite", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3")  # those of the program (src/model/families)
PLAIN = (*FLOATS, torch.float64)
CACHE = re.compile(r"\.(k|v|q|prob|kv)_(scale|zero_point|proj\.output_scale|proj\.[kv]_scale)$")  # of a quantized key/value cache


def check_family(config):
    """Refuses what the program would refuse once the folder is there."""
    if (family := config.get("model_type")) not in FAMILIES:
        raise BadInput(f"config.json: model_type is {shortened(family)}, and the program evaluates only {', '.join(FAMILIES)}; take a checkpoint of one of these")


def quantized_layers(source, form):
    """Returns the layers that have a part besides the weight, and the names of all other tensors."""
    parts, plain = {}, []
    ends = sorted(form.parts, key=len, reverse=True) if form else ()
    for name in source.files:
        end = next((end for end in ends if name.endswith(f".{end}")), None)
        if end is None:
            plain.append(name)
        else:
            parts.setdefault(name[: -len(end) - 1], {})[end] = name
    layers = []
    for name, own in parts.items():
        if own.keys() == {"weight"}:
            plain.append(own["weight"])
            continue
        layers.append(Layer(source, name, own))
        if "weight" not in own and f"{name}.weight" in source.files:
            layers[-1].fail(next(iter(own)), f"is of a quantized layer, and '{name}.weight' is there, too; leave out the one that does not count")
    return layers, plain


def has_bias(config, layer):
    """Returns whether a layer of this family has a bias (src/model/families)."""
    family = config.get("model_type")
    if family == "qwen2":
        return layer.endswith(("q_proj", "k_proj", "v_proj"))
    key = "attention_bias" if ".self_attn." in layer else "mlp_bias" if ".mlp." in layer else None
    return family not in ("mistral", "phi3") and bool(config.get(key))


def is_left_out(source, layers, name):
    """Returns whether a plain tensor has no place in a plain checkpoint: scales of a cache; what the program computes, masks among it; the embeddings once
    more as the head, where config.json ties the two; zeros that old tools write as biases where the model has none."""
    if CACHE.search(name) or name.endswith(DERIVED) or source.read(name).dtype == torch.bool:
        return True
    config = source.config
    if name == "lm_head.weight" and config.get("tie_word_embeddings") is True and "model.embed_tokens.weight" in source.files:
        return torch.equal(source.read(name), source.read("model.embed_tokens.weight"))
    layer = name.removesuffix(".bias")
    return layer != name and layer in layers and not has_bias(config, layer) and not source.read(name).any()


def read_plain(source, name, form):
    tensor = source.read(name)
    if tensor.dtype not in PLAIN:
        says = f"{form.method} has no scale for it" if form else "nothing in config.json says what that means"
        raise BadInput(f"{source.place(name)} is of {spelled(tensor.dtype)}, and {says}; is the checkpoint whole, and config.json its own?")
    return tensor


def shapes(config):
    """Returns {the end of a layer's name: rows and columns} as far as config.json has the sizes of a Llama model."""
    hidden, inner, heads, tokens = (config.get(key) for key in ("hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"))
    if not all(type(size) is int and 0 < size < 2**31 for size in (hidden, inner, heads, tokens)):
        return {}
    pairs, side = config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads
    if type(pairs) is not int or type(side) is not int:
        return {}
    q, kv = (heads * side, hidden), (pairs * side, hidden)
    return {"self_attn.q_proj": q, "self_attn.k_proj": kv, "self_attn.v_proj": kv, "self_attn.o_proj": q[::-1], "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner), "lm_head": (tokens, hidden), "embed_tokens": (tokens, hidden)}


def check_shape(layer, weight, expected):
    wanted = next((shape for end, shape in expected.items() if layer.name.endswith(end)), None)
    if wanted and tuple(weight.shape) != wanted:
        layer.fail(next(iter(layer.parts)), f"belongs to a weight of shape {tuple(weight.shape)}, and config.json says {wanted}; is it that of these weights?")
