"""Small random checkpoints of every family, with its flags: each window's NLL as transformers computes it within 1e-6 of it, in float32; what is
exported from one, as transformers reads it; and what a family's config.json may not say."""
import json

import pytest
import transformers

from checkpoints import BASE, HEAD, LAYERS, save_model, set_fields

HEADS = BASE["num_attention_heads"]
LONG = {"rope_type": "longrope", "short_factor": [1 + 0.01 * i for i in range(HEAD // 2)], "long_factor": [1 + 0.5 * i for i in range(HEAD // 2)]}
PARTIAL = {"rope_type": "longrope", "short_factor": [1.0] * (HEAD // 4), "long_factor": [1 + 0.5 * i for i in range(HEAD // 4)],
           "partial_rotary_factor": 0.5}
GRANITE = {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0, "attention_multiplier": 0.03125}
SLIDING = {"use_sliding_window": True, "sliding_window": 100}

# id: (the class of its configuration, what it is asked for)
FAMILIES = {
    "mistral-0.1": ("Mistral", {"sliding_window": 100}),
    "mistral-window-of-the-length": ("Mistral", {"sliding_window": 256}),
    "mistral-window-of-one": ("Mistral", {"sliding_window": 1}),
    "mistral-0.3": ("Mistral", {"sliding_window": None, "rope_theta": 1e6}),
    "mistral-layer-types": ("Mistral", {"sliding_window": 100, "layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
    "mistral-nemo": ("Mistral", {"sliding_window": None, "rope_theta": 1e6, "head_dim": 48}),
    "qwen2.5": ("Qwen2", {"rope_theta": 1e6}),
    "qwen2.5-tied": ("Qwen2", {"rope_theta": 1e6, "tie_word_embeddings": True}),
    "qwen2.5-yarn": ("Qwen2", {"rope_theta": 1e6, "max_position_embeddings": 512,
                               "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}}),
    "qwen2-sliding-in-the-last-layer": ("Qwen2", SLIDING | {"max_window_layers": LAYERS - 1}),
    "qwen2-sliding-not-used": ("Qwen2", {"use_sliding_window": False, "sliding_window": 100, "max_window_layers": 0}),
    "qwen2-layer-types": ("Qwen2", SLIDING | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "qwen3": ("Qwen3", {"rope_theta": 1e6, "head_dim": 48}),
    "qwen3-biases": ("Qwen3", {"attention_bias": True, "head_dim": HEAD}),
    "qwen3-head-128": ("Qwen3", {}),
    "qwen3-sliding": ("Qwen3", SLIDING | {"max_window_layers": 1, "head_dim": HEAD}),
    "phi3-4k": ("Phi3", {"num_key_value_heads": HEADS, "sliding_window": 100}),
    "phi3-128k-beyond": ("Phi3", {"num_key_value_heads": HEADS, "original_max_position_embeddings": 128, "rope_scaling": LONG}),
    "phi3-128k-within": ("Phi3", {"original_max_position_embeddings": 1024, "rope_scaling": LONG}),
    "phi4-mini": ("Phi3", {"original_max_position_embeddings": 128, "rope_scaling": PARTIAL, "tie_word_embeddings": True}),
    "phi3-partial-plain": ("Phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}}),
    "granite-3": ("Granite", GRANITE | {"rope_theta": 1e7}),
    "granite-tied-biases": ("Granite", GRANITE | {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    "granite-defaults": ("Granite", {}),
    "smollm3": ("SmolLM3", {"rope_theta": 5e6, "no_rope_layer_interval": 2}),
    "smollm3-by-list": ("SmolLM3", {"no_rope_layers": [0, 1, 0], "tie_word_embeddings": False, "attention_bias": True}),
    "smollm3-every-fourth": ("SmolLM3", {"num_hidden_layers": 4}),
    "smollm3-sliding": ("SmolLM3", SLIDING | {"no_rope_layers": [1, 0, 1]}),
}


def save(folder, kind, seed=0, **changes):
    family, fields = FAMILIES[kind]
    return save_model(folder, getattr(transformers, f"{family}Config")(**(BASE | fields | changes)), seed=seed)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_is_evaluated_as_transformers_does(evaluate, tmp_path, kind, seed):
    evaluate("run", save(tmp_path / "model", kind, seed)).assert_as_transformers()


@pytest.mark.parametrize("kind", ["mistral-0.1", "qwen2.5", "qwen3-biases", "phi3-128k-beyond", "phi4-mini", "granite-3", "smollm3"])
@pytest.mark.parametrize("changes", [
    {"rope": {"type": "yarn", "factor": 2}},
    {"quant": [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 32}}], "rounding": {"draw": 1},
     "rescale": {"type": "bands", "bands": 3, "scales": [1.0, 1.1, 0.95]}},
], ids=["yarn", "rescaled-and-rounded"])
def test_what_is_exported_is_read_by_transformers_as_the_same_model(evaluate, tmp_path, kind, changes):
    folder = save(tmp_path / "model", kind)
    evaluated = evaluate("run", folder, changes | {"export": {"folder": str(tmp_path / "exported")}})
    assert evaluated.nll()
    exported = json.loads((tmp_path / "exported/config.json").read_text(encoding="utf-8"))
    assert exported["model_type"] == json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    evaluated.assert_as_transformers(tmp_path / "exported")


# id: (kind, an edit of its files, what the line says)
REFUSED = {
    "a-key-of-another-family": ("mistral-0.3", set_fields(no_rope_layers=[1, 0, 1]), ["no_rope_layers"]),
    "a-window-of-none": ("mistral-0.1", set_fields(sliding_window=0), ["sliding_window"]),
    "too-few-layer-types": ("qwen2-layer-types", set_fields(layer_types=["full_attention"]), ["layer_types", f"{LAYERS} layers"]),
    "a-sliding-layer-without-its-window": ("smollm3-sliding", set_fields(use_sliding_window=False, layer_types=["sliding_attention"] * LAYERS), ["layer_types", "use_sliding_window"]),
    "an-unknown-layer-type": ("qwen3", set_fields(layer_types=["linear_attention"] * LAYERS), ["layer_types"]),
    "too-few-layers-with-rope": ("smollm3-by-list", set_fields(no_rope_layers=[1, 0]), ["no_rope_layers"]),
    "partial-in-a-family-without": ("qwen2.5", set_fields(partial_rotary_factor=0.5), ["partial_rotary_factor", "qwen2"]),
    "a-multiplier-of-zero": ("granite-3", set_fields(residual_multiplier=0.0), ["residual_multiplier"]),
    "a-family-under-the-name-of-another": ("phi3-4k", set_fields(model_type="llama", sliding_window=None), ["q_proj"]),
    "norms-under-another-name": ("qwen3-biases", set_fields(model_type="llama"), ["_norm.weight"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_family_cannot_be_is_refused_with_one_line(evaluate, tmp_path, kind):
    written, edit, parts = REFUSED[kind]
    folder = save(tmp_path / "model", written)
    edit(folder)
    process = evaluate("check", folder).process
    assert process.returncode == 1, process.stdout
    assert [line for line in process.stderr.splitlines() if all(part in line for part in parts)], process.stderr


def test_families_are_listed(run):
    listed = json.loads(run("list", "model family", "--format", "json").stdout)["model family"]
    assert {"granite", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"} <= {entry["name"] for entry in listed}
