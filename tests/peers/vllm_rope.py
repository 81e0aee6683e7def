"""RoPE as vLLM reads it from a Llama's config.json, by the formulas of its package vllm/model_executor/layers/rotary_embedding (0.6 to
0.15), written anew in float64.  Where its versions part, `releases` says which: "attn_factor" for those whose YaRN multiplies 0.1 ln s + 1
by that key and knows no attention_factor, "attention_factor" for the later ones, which take that key as transformers does."""
import math

import torch

RELEASES = ["attn_factor", "attention_factor"]


def parameters_of(config):
    """The one dictionary that vLLM makes of all spellings; an original length at the top replaces the dictionary's."""
    parameters = dict(config.get("rope_scaling") or config.get("rope_parameters") or {"rope_type": "default"})
    parameters.setdefault("rope_type", parameters.get("type", "default"))
    parameters.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    if "original_max_position_embeddings" in config:
        parameters["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    return parameters


def frequencies(theta, head_dim):
    return theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


def yarn_scale(factor):
    return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def linear(p, config, head_dim, *_):
    """vLLM divides positions, which is the same to the last bits."""
    return frequencies(p["rope_theta"], head_dim) / p["factor"], 1.0


def dynamic(p, config, head_dim, *_):
    """One table for all lengths, that of the longest: factor * max_position_embeddings."""
    stretch = p["factor"] * p["factor"] - (p["factor"] - 1)
    return frequencies(p["rope_theta"] * stretch ** (head_dim / (head_dim - 2)), head_dim), 1.0


def llama3(p, config, head_dim, *_):
    plain = frequencies(p["rope_theta"], head_dim)
    turns = p["original_max_position_embeddings"] * plain / (2 * math.pi)
    kept = ((turns - p["low_freq_factor"]) / (p["high_freq_factor"] - p["low_freq_factor"])).clamp(0, 1)
    return (1 - kept) * plain / p["factor"] + kept * plain, 1.0


def yarn(p, config, head_dim, release, _):
    plain = frequencies(p["rope_theta"], head_dim)

    def index(turns):
        return head_dim * math.log(p["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (2 * math.log(p["rope_theta"]))

    low, high = index(p.get("beta_fast", 32)), index(p.get("beta_slow", 1))
    if p.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    attention = yarn_scale(p["factor"]) * p.get("attn_factor", 1)
    if release == "attention_factor":
        attention = p.get("attention_factor", yarn_scale(p["factor"]))
    return plain / p["factor"] * ramp + plain * (1 - ramp), attention


def longrope(p, config, head_dim, _, max_model_len):
    """The lists are chosen by the longest sequence that the server takes, not by the one at hand.  `factor` and `attention_factor` are
    not read."""
    original, longest = p["original_max_position_embeddings"], config["max_position_embeddings"]
    which = "long" if max_model_len > original else "short"
    scale = math.sqrt(1 + math.log(longest / original) / math.log(original)) if longest > original else 1.0
    divisors = torch.tensor(p[f"{which}_factor"], dtype=torch.float64)
    return frequencies(p["rope_theta"], head_dim) / divisors, p.get(f"{which}_mscale", scale)


TYPES = {"default": lambda p, config, head_dim, *_: (frequencies(p["rope_theta"], head_dim), 1.0), "linear": linear, "dynamic": dynamic,
         "yarn": yarn, "llama3": llama3, "longrope": longrope}


def vllm_table(config, max_model_len, release):
    """(inv_freq, attention factor) of a served model of at most `max_model_len` tokens."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    parameters = parameters_of(config)
    return TYPES[parameters["rope_type"]](parameters, config, head_dim, release, max_model_len)
