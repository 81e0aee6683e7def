"""How people write RoPE into a Llama's config.json: {id: the fields of the file that have to do with RoPE}.  Heads of 32 channels; the
file also says 512 positions unless a case says otherwise, and no rope_theta unless a case does."""

HALF = 16
SHORT = [1 + 0.02 * i for i in range(HALF)]
LONG = [1 + 0.3 * i for i in range(HALF)]
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}
YARN = {"factor": 4.0, "original_max_position_embeddings": 128}
LISTS = {"short_factor": SHORT, "long_factor": LONG}
LONGROPE = LISTS | {"original_max_position_embeddings": 128}


def v4(type_key="rope_type", type_name="yarn", **keys):
    return {"rope_scaling": {type_key: type_name} | keys, "rope_theta": 10000.0}


def v5(type_name="yarn", theta=10000.0, **keys):
    return {"rope_parameters": {"rope_type": type_name, "rope_theta": theta} | keys}


def without(keys, name):
    return {key: value for key, value in keys.items() if key != name}


PLAIN = {
    "nothing": {},
    "theta": {"rope_theta": 500000.0},
    "theta-int": {"rope_theta": 500000},
    "theta-null": {"rope_theta": None},
    "scaling-null": {"rope_scaling": None, "rope_theta": 10000.0},
    "scaling-empty": {"rope_scaling": {}, "rope_theta": 10000.0},
    "parameters-null": {"rope_parameters": None},
    "parameters-empty": {"rope_parameters": {}},
    "parameters-theta-alone": {"rope_parameters": {"rope_theta": 500000.0}},
    "parameters-theta-null": {"rope_parameters": {"rope_type": "default", "rope_theta": None}},
    "default-v4": v4("type", "default"),
    "default-v5": v5("default", theta=500000.0),
    "default-v5-theta-int": v5("default", theta=500000),
    "default-with-factor": v4("rope_type", "default", factor=4.0),
    "default-with-original": v5("default", original_max_position_embeddings=128),
    "theta-at-both-places": v5("default") | {"rope_theta": 10000.0},
    "theta-at-both-places-differing": v5("default", theta=500000.0) | {"rope_theta": 10000.0},
    "theta-in-scaling": {"rope_scaling": {"rope_type": "default", "rope_theta": 500000.0}},
    "original-at-top-alone": {"original_max_position_embeddings": 128},
}

TYPES = {
    "scaling-without-type": {"rope_scaling": {"factor": 2.0}, "rope_theta": 10000.0},
    "parameters-without-type": {"rope_parameters": {"factor": 2.0, "rope_theta": 10000.0}},
    "type-null": v4("rope_type", None, factor=2.0),
    "rope_type-null-beside-type": v4("rope_type", None, factor=2.0, type="linear"),
    "type-in-capitals": v4("type", "Linear", factor=2.0),
    "both-type-keys": v4("type", "linear", rope_type="linear", factor=2.0),
    "both-type-keys-differing": v4("type", "linear", rope_type="dynamic", factor=2.0),
    "both-type-keys-su-and-longrope": v4("type", "su", rope_type="longrope", **LONGROPE),
    "mrope": v4("type", "mrope", mrope_section=[4, 6, 6]),
    "ntk": v4("type", "ntk", factor=2.0),
    "proportional": v5("proportional", factor=2.0),
    "by-layer-type": {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}},
    "scaling-is-text": {"rope_scaling": "linear", "rope_theta": 10000.0},
    "scaling-is-a-list": {"rope_scaling": [{"type": "linear", "factor": 2.0}], "rope_theta": 10000.0},
    "scaling-false": {"rope_scaling": False, "rope_theta": 10000.0},
    "both-dictionaries-the-same": v5("linear", factor=2.0) | {"rope_scaling": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    "both-dictionaries-the-same-in-other-words": v5("linear", factor=2.0) | {"rope_scaling": {"type": "linear", "factor": 2}, "rope_theta": 10000.0},
    "both-dictionaries-without-the-theta-of-one": v5("linear", theta=500000.0, factor=2.0) | {"rope_scaling": {"type": "linear", "factor": 2.0}},
    "both-dictionaries-differing": v5("linear", factor=4.0) | {"rope_scaling": {"type": "linear", "factor": 2.0}},
    "scaling-null-beside-parameters": v5("linear", factor=2.0) | {"rope_scaling": None},
    "scaling-empty-beside-parameters": v5("linear", factor=2.0) | {"rope_scaling": {}},
    "parameters-null-beside-scaling": v4("type", "linear", factor=2.0) | {"rope_parameters": None},
    "theta-in-parameters-and-scaling-elsewhere": {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 500000.0}},
}

LINEAR = {
    "linear-type": v4("type", "linear", factor=4.0),
    "linear-rope_type": v4("rope_type", "linear", factor=4.0),
    "linear-v5": v5("linear", factor=4.0),
    "linear-int-factor": v4("type", "linear", factor=4),
    "linear-broken-factor": v4("type", "linear", factor=2.5),
    "linear-factor-1": v4("type", "linear", factor=1.0),
    "linear-factor-below-1": v4("type", "linear", factor=0.5),
    "linear-factor-0": v4("type", "linear", factor=0.0),
    "linear-factor-null": v4("type", "linear", factor=None),
    "linear-factor-text": v4("type", "linear", factor="4.0"),
    "linear-factor-true": v4("type", "linear", factor=True),
    "linear-factor-missing": v4("type", "linear"),
    "linear-factor-missing-original-stated": v4("type", "linear", original_max_position_embeddings=128),
    "linear-original": v4("type", "linear", factor=4.0, original_max_position_embeddings=128),
    "linear-original-at-top": v4("type", "linear", factor=4.0) | {"original_max_position_embeddings": 128},
    "linear-original-null": v4("type", "linear", factor=4.0, original_max_position_embeddings=None),
    "linear-attention_factor": v4("type", "linear", factor=4.0, attention_factor=1.3),
    "linear-finetuned": v4("type", "linear", factor=4.0, finetuned=True),
    "linear-theta-in-the-scaling": {"rope_scaling": {"type": "linear", "factor": 4.0, "rope_theta": 500000.0}, "rope_theta": 10000.0},
    "linear-partial-1": v4("type", "linear", factor=4.0, partial_rotary_factor=1.0),
    "linear-partial-half": v4("type", "linear", factor=4.0, partial_rotary_factor=0.5),
    "linear-partial-half-at-top": v4("type", "linear", factor=4.0) | {"partial_rotary_factor": 0.5},
}

DYNAMIC = {
    "dynamic-type": v4("type", "dynamic", factor=2.0),
    "dynamic-v5": v5("dynamic", factor=2.0),
    "dynamic-int-factor": v4("type", "dynamic", factor=2),
    "dynamic-factor-1": v4("type", "dynamic", factor=1.0),
    "dynamic-factor-missing": v4("type", "dynamic"),
    "dynamic-factor-null": v4("type", "dynamic", factor=None),
    "dynamic-original": v4("type", "dynamic", factor=2.0, original_max_position_embeddings=128),
    "dynamic-original-at-top": v4("type", "dynamic", factor=2.0) | {"original_max_position_embeddings": 128},
    "dynamic-original-is-max": v4("type", "dynamic", factor=2.0, original_max_position_embeddings=512),
    "dynamic-original-above-max": v4("type", "dynamic", factor=2.0, original_max_position_embeddings=1024),
    "dynamic-alpha": v4("type", "dynamic", alpha=1000.0),
    "dynamic-alpha-and-factor": v4("type", "dynamic", alpha=1000.0, factor=1.0),
    "dynamic-short-model": v4("type", "dynamic", factor=4.0) | {"max_position_embeddings": 64},
}

YARNS = {
    "yarn-type": v4("type", "yarn", **YARN),
    "yarn-rope_type": v4(**YARN),
    "yarn-v5": v5(**YARN),
    "yarn-finetuned": v4("type", "yarn", **YARN, finetuned=True),
    "yarn-ints": v4(factor=4, original_max_position_embeddings=128, beta_fast=32, beta_slow=1),
    "yarn-float-original": v4(factor=4.0, original_max_position_embeddings=128.0),
    "yarn-broken-original": v4(factor=4.0, original_max_position_embeddings=128.5),
    "yarn-original-missing": v4(factor=4.0),
    "yarn-original-null": v4(factor=4.0, original_max_position_embeddings=None),
    "yarn-original-at-top": v4(factor=4.0) | {"original_max_position_embeddings": 128},
    "yarn-original-at-top-float": v4(factor=4.0) | {"original_max_position_embeddings": 128.0},
    "yarn-original-at-top-null": v4(**YARN) | {"original_max_position_embeddings": None},
    "yarn-original-at-both": v4(**YARN) | {"original_max_position_embeddings": 128},
    "yarn-original-at-both-differing": v4(**YARN) | {"original_max_position_embeddings": 64},
    "yarn-v5-original-at-both-differing": v5(**YARN) | {"original_max_position_embeddings": 64},
    "yarn-factor-null": v4(factor=None, original_max_position_embeddings=128),
    "yarn-factor-null-original-missing": v4(factor=None),
    "yarn-factor-missing": v4(original_max_position_embeddings=128),
    "yarn-factor-missing-everything": v4(),
    "yarn-factor-1": v4(factor=1.0, original_max_position_embeddings=128),
    "yarn-factor-below-1": v4(factor=0.5, original_max_position_embeddings=128),
    "yarn-factor-is-not-max-over-original": v4(factor=8.0, original_max_position_embeddings=128),
    "yarn-max-is-original": v4(**YARN) | {"max_position_embeddings": 128},
    "yarn-max-below-original": v4(**YARN) | {"max_position_embeddings": 64},
    "yarn-max-below-original-factor-null": v4(factor=None, original_max_position_embeddings=128) | {"max_position_embeddings": 64},
    "yarn-attention_factor": v4(**YARN, attention_factor=1.3),
    "yarn-attention_factor-int": v4(**YARN, attention_factor=1),
    "yarn-attention_factor-null": v4(**YARN, attention_factor=None),
    "yarn-attention_factor-0": v4(**YARN, attention_factor=0.0),
    "yarn-attention_factor-beside-mscale": v4(**YARN, attention_factor=1.3, mscale=0.7, mscale_all_dim=0.5),
    "yarn-attn_factor": v4(**YARN, attn_factor=1.3),
    "yarn-betas": v4(**YARN, beta_fast=16.0, beta_slow=2.5),
    "yarn-betas-int": v4(**YARN, beta_fast=16, beta_slow=2),
    "yarn-betas-0": v4(**YARN, beta_fast=0, beta_slow=0),
    "yarn-betas-null": v4(**YARN, beta_fast=None, beta_slow=None),
    "yarn-beta_slow-0": v4(**YARN, beta_slow=0.0),
    "yarn-betas-the-same": v4(**YARN, beta_fast=4.0, beta_slow=4.0),
    "yarn-betas-turned-round": v4(**YARN, beta_fast=1, beta_slow=32),
    "yarn-truncate-false": v4(**YARN, truncate=False),
    "yarn-truncate-true": v4(**YARN, truncate=True),
    "yarn-truncate-null": v4(**YARN, truncate=None),
    "yarn-mscale-alone": v4(**YARN, mscale=0.7),
    "yarn-mscale_all_dim-alone": v4(**YARN, mscale_all_dim=0.7),
    "yarn-mscales": v4(**YARN, mscale=1.0, mscale_all_dim=0.5),
    "yarn-mscales-int": v4(**YARN, mscale=1, mscale_all_dim=2),
    "yarn-mscales-the-same": v4(**YARN, mscale=0.707, mscale_all_dim=0.707),
    "yarn-mscale_all_dim-0": v4(**YARN, mscale=1.0, mscale_all_dim=0.0),
    "yarn-mscale_all_dim-int-0": v4(**YARN, mscale=1.0, mscale_all_dim=0),
    "yarn-mscale-0": v4(**YARN, mscale=0, mscale_all_dim=1.0),
    "yarn-mscales-0": v4(**YARN, mscale=0.0, mscale_all_dim=0.0),
    "yarn-mscales-null": v4(**YARN, mscale=None, mscale_all_dim=None),
    "yarn-mscale_all_dim-null": v4(**YARN, mscale=0.7, mscale_all_dim=None),
    "yarn-large-theta": v4(**YARN) | {"rope_theta": 1000000},
    "yarn-original-of-4": v4(factor=4.0, original_max_position_embeddings=4),
    "yarn-original-of-2": v4(factor=4.0, original_max_position_embeddings=2),
    "yarn-original-of-2-million": v4(factor=4.0, original_max_position_embeddings=2097152),
}

LLAMA3S = {
    "llama3-rope_type": v4("rope_type", "llama3", **LLAMA3),
    "llama3-type": v4("type", "llama3", **LLAMA3),
    "llama3-v5": v5("llama3", theta=500000.0, **LLAMA3),
    "llama3-ints": v4("rope_type", "llama3", factor=8, low_freq_factor=1, high_freq_factor=4, original_max_position_embeddings=128),
    "llama3-float-original": v4("rope_type", "llama3", **LLAMA3 | {"original_max_position_embeddings": 128.0}),
    "llama3-original-missing": v4("rope_type", "llama3", **without(LLAMA3, "original_max_position_embeddings")),
    "llama3-original-at-top": v4("rope_type", "llama3", **without(LLAMA3, "original_max_position_embeddings")) | {"original_max_position_embeddings": 128},
    "llama3-original-at-both-differing": v4("rope_type", "llama3", **LLAMA3) | {"original_max_position_embeddings": 64},
    "llama3-max-is-original": v4("rope_type", "llama3", **LLAMA3) | {"max_position_embeddings": 128},
    "llama3-max-below-original": v4("rope_type", "llama3", **LLAMA3) | {"max_position_embeddings": 64},
    "llama3-low_freq_factor-missing": v4("rope_type", "llama3", **without(LLAMA3, "low_freq_factor")),
    "llama3-high_freq_factor-missing": v4("rope_type", "llama3", **without(LLAMA3, "high_freq_factor")),
    "llama3-low_freq_factor-null": v4("rope_type", "llama3", **LLAMA3 | {"low_freq_factor": None}),
    "llama3-factor-missing": v4("rope_type", "llama3", **without(LLAMA3, "factor")),
    "llama3-factor-null": v4("rope_type", "llama3", **LLAMA3 | {"factor": None}),
    "llama3-factor-1": v4("rope_type", "llama3", **LLAMA3 | {"factor": 1.0}),
    "llama3-freq-factors-the-same": v4("rope_type", "llama3", **LLAMA3 | {"low_freq_factor": 4.0}),
    "llama3-freq-factors-turned-round": v4("rope_type", "llama3", **LLAMA3 | {"low_freq_factor": 8.0}),
}

LONGROPES = {
    "longrope-v4": v4("rope_type", "longrope", **LONGROPE),
    "longrope-type": v4("type", "longrope", **LONGROPE),
    "longrope-v5": v5("longrope", **LONGROPE),
    "longrope-factor": v4("rope_type", "longrope", factor=8.0, **LONGROPE),
    "longrope-int-factor": v4("rope_type", "longrope", factor=8, **LONGROPE),
    "longrope-factor-null": v4("rope_type", "longrope", factor=None, **LONGROPE),
    "longrope-factor-1": v4("rope_type", "longrope", factor=1.0, **LONGROPE),
    "longrope-factor-below-1": v4("rope_type", "longrope", factor=0.5, **LONGROPE),
    "longrope-attention_factor": v4("rope_type", "longrope", attention_factor=1.4, **LONGROPE),
    "longrope-attention_factor-int": v4("rope_type", "longrope", attention_factor=1, **LONGROPE),
    "longrope-attention_factor-null": v4("rope_type", "longrope", attention_factor=None, factor=8.0, **LONGROPE),
    "longrope-factor-and-attention_factor": v4("rope_type", "longrope", factor=8.0, attention_factor=1.4, **LONGROPE),
    "longrope-mscales": v4("rope_type", "longrope", short_mscale=1.1, long_mscale=1.25, **LONGROPE),
    "longrope-mscales-beside-attention_factor": v4("rope_type", "longrope", short_mscale=1.4, long_mscale=1.4, attention_factor=1.4, **LONGROPE),
    "longrope-int-lists": v4("rope_type", "longrope", short_factor=[1] * HALF, long_factor=list(range(1, HALF + 1)), original_max_position_embeddings=128),
    "longrope-original-at-top": v4("rope_type", "longrope", **LISTS) | {"original_max_position_embeddings": 128},
    "longrope-original-at-both": v4("rope_type", "longrope", **LONGROPE) | {"original_max_position_embeddings": 128},
    "longrope-original-at-both-differing": v4("rope_type", "longrope", **LONGROPE) | {"original_max_position_embeddings": 256},
    "longrope-original-missing": v4("rope_type", "longrope", factor=4.0, **LISTS),
    "longrope-original-and-factor-missing": v4("rope_type", "longrope", **LISTS),
    "longrope-float-original": v4("rope_type", "longrope", **LONGROPE | {"original_max_position_embeddings": 128.0}),
    "longrope-max-is-original": v4("rope_type", "longrope", **LONGROPE) | {"max_position_embeddings": 128},
    "longrope-max-below-original": v4("rope_type", "longrope", **LONGROPE) | {"max_position_embeddings": 64},
    "longrope-su": v4("type", "su", **LONGROPE),
    "longrope-short-list-missing": v4("rope_type", "longrope", **without(LONGROPE, "short_factor")),
    "longrope-long-list-missing": v4("rope_type", "longrope", **without(LONGROPE, "long_factor")),
    "longrope-short-list-null": v4("rope_type", "longrope", **LONGROPE | {"short_factor": None}),
    "longrope-list-too-short": v4("rope_type", "longrope", **LONGROPE | {"long_factor": LONG[:-1]}),
    "longrope-list-of-one": v4("rope_type", "longrope", **LONGROPE | {"long_factor": [2.0]}),
    "longrope-finetuned": v4("rope_type", "longrope", **LONGROPE, finetuned=True),
}

SPELLINGS = PLAIN | TYPES | LINEAR | DYNAMIC | YARNS | LLAMA3S | LONGROPES
