"""The checkpoints of the Llama family that people have, small and random: each window's NLL as transformers computes it within 1e-6 of it,
in float32 and without a `rope` block; and those that we cannot evaluate, refused by `check` with a line that says what is in the way."""
import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints import (HEAD, HIDDEN, LAYERS, VOCAB, add_tensors, as_version_4, change_tensors, edit_index, in_dtype, in_order,
                         save_llama, set_fields)

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
SHARDED = {"save_options": {"max_shard_size": "300KB"}}
BIASES = {f"self_attn__{name}_proj__bias": size for name, size in (("q", HIDDEN), ("k", HIDDEN // 2), ("v", HIDDEN // 2))}
LISTS = {"short_factor": [1 + 0.02 * i for i in range(HEAD // 2)], "long_factor": [1 + 0.3 * i for i in range(HEAD // 2)]}


def shard_of(folder, index=0):
    return sorted(folder.glob("model-*.safetensors"))[index]


def left_over_in_a_shard(folder):
    change_tensors(lambda tensors: tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(HEAD // 2)}, shard_of(folder).name)(folder)


def left_over_in_the_index(folder):
    name = shard_of(folder).name
    edit_index(lambda places: places.update({"model.layers.0.self_attn.rotary_emb.inv_freq": name}))(folder)


def without_prefix(tensors):
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def without(*names):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names}


def longer_vocabulary(rows):
    def change(tensors):
        added = torch.randn(rows, HIDDEN) * 0.1
        return {name: torch.cat([x, added]) if name in ("lm_head.weight", "model.embed_tokens.weight") else x for name, x in tensors.items()}

    return in_order(change_tensors(change), set_fields(vocab_size=VOCAB + rows))


def nothing(folder):
    """The checkpoint as transformers wrote it."""


def own_head(tensors):
    return tensors | {"lm_head.weight": torch.randn(VOCAB, HIDDEN) * 0.1}


# id: (what transformers is asked to write, an edit of its files, changes of the experiment)
EVALUATED = {
    "llama2": ({"num_key_value_heads": 4, "max_position_embeddings": 4096}, nothing, {}),
    "llama3": ({"rope_theta": 500000.0, "eos_token_id": [2, 3]}, nothing, {}),
    "llama3.1": ({"rope_theta": 500000.0, "rope_scaling": LLAMA3}, nothing, {}),
    "llama3.2-tied": ({"rope_theta": 500000.0, "rope_scaling": LLAMA3 | {"factor": 32.0}, "tie_word_embeddings": True, "head_dim": HEAD}, nothing, {}),
    "vicuna-16k-linear": ({"num_key_value_heads": 4}, as_version_4(rope_scaling={"type": "linear", "factor": 4.0}), {}),
    "longlora-linear-8": ({}, as_version_4(rope_scaling={"factor": 8.0, "type": "linear"}, max_position_embeddings=128), {}),
    "yarn": ({}, as_version_4(rope_scaling={"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 64, "finetuned": True}), {}),
    "yarn-version-5": ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 1e5}}, nothing, {}),
    "dynamic-beyond": ({"max_position_embeddings": 128}, as_version_4(rope_scaling={"type": "dynamic", "factor": 2.0}), {}),
    "dynamic-within": ({}, as_version_4(rope_scaling={"type": "dynamic", "factor": 2.0}), {}),
    "longrope-beyond": ({}, as_version_4(rope_scaling={"type": "longrope"} | LISTS, original_max_position_embeddings=128), {}),
    "longrope-within": ({}, as_version_4(rope_scaling={"type": "longrope"} | LISTS, original_max_position_embeddings=1024), {}),
    "default-by-name": ({}, set_fields(rope_parameters={"rope_type": "default", "rope_theta": 20000.0}), {}),
    "biases": ({"attention_bias": True, "mlp_bias": True}, nothing, {}),
    "attention-biases": ({"attention_bias": True}, nothing, {}),
    "head-dim-64": ({"head_dim": 64}, nothing, {}),
    "head-dim-16": ({"head_dim": 16}, nothing, {}),
    "multi-query": ({"num_key_value_heads": 1}, nothing, {}),
    "wide-theta": ({"rope_theta": 1000042.0}, nothing, {}),
    "sharded": (SHARDED, nothing, {}),
    "float16": ({}, in_dtype(torch.float16), {}),
    "bfloat16": ({}, in_dtype(torch.bfloat16), {}),
    "float64": ({}, in_dtype(torch.float64), {}),
    "float16-with-float32-norms": ({}, in_dtype(torch.float16, torch.float32), {}),
    "bfloat16-head-alone": ({}, change_tensors(lambda tensors: tensors | {"lm_head.weight": tensors["lm_head.weight"].bfloat16()}), {}),
    "inv_freq-left-over": ({}, add_tensors(self_attn__rotary_emb__inv_freq=[HEAD // 2]), {}),
    "inv_freq-left-over-in-a-shard-alone": (SHARDED, left_over_in_a_shard, {}),
    "inv_freq-left-over-in-the-index-alone": (SHARDED, left_over_in_the_index, {}),
    "causal-masks-left-over": ({}, add_tensors(self_attn__causal_mask=[8, 8]), {}),
    "no-prefix": ({}, change_tensors(without_prefix), {}),
    "no-prefix-tied-body-alone": ({"body_alone": True, "tie_word_embeddings": True}, nothing, {}),
    "no-prefix-sharded": ({"body_alone": True, "tie_word_embeddings": True} | SHARDED, nothing, {}),
    "tied-with-a-head-of-its-own": ({"tie_word_embeddings": True}, change_tensors(own_head), {}),
    "tied-with-the-same-head-again": ({"tie_word_embeddings": True},
                                      change_tensors(lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}), {}),
    "one-row-more": ({}, longer_vocabulary(1), {}),
    "many-rows-more": ({}, longer_vocabulary(700), {}),
    "bos-null": ({}, set_fields(bos_token_id=None), {"windows.bos": False}),
    "bos-missing": ({}, set_fields(bos_token_id=...), {}),
    "version-4": ({}, as_version_4(500000.0, rope_scaling=None, pretraining_tp=1, use_cache=True), {}),
    "fields-left-out": ({"num_key_value_heads": 4, "rms_norm_eps": 1e-6}, set_fields(num_key_value_heads=..., rms_norm_eps=..., hidden_act=..., head_dim=...), {}),
    "head-dim-null": ({}, set_fields(head_dim=None), {}),
    "remote-code-beside-it": ({}, set_fields(auto_map={"AutoModelForCausalLM": "modeling_llama_together_yarn.LlamaForCausalLM"}), {}),
    "tensor-parallel-pretraining": ({}, set_fields(pretraining_tp=2), {}),
    "sliding-window-longer-than-the-windows": ({}, set_fields(sliding_window=4096), {}),
    "ignored-tensors": ({}, add_tensors(self_attn__q_norm__weight=[HEAD]), {"model.ignore_tensors": ["*.q_norm.weight"]}),
}


@pytest.mark.parametrize("kind", EVALUATED)
def test_a_checkpoint_is_evaluated_as_transformers_does(evaluate, tmp_path, kind):
    written, edit, changes = EVALUATED[kind]
    folder = save_llama(tmp_path / "model", **written)
    edit(folder)
    evaluate("run", folder, changes).assert_as_transformers()


def with_lora(folder):
    add_tensors(self_attn__q_proj__lora_A__weight=[8, HIDDEN], self_attn__q_proj__lora_B__weight=[HIDDEN, 8])(folder)


def as_pytorch_file(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_lfs_pointer(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 123456\n")


def as_adapter(folder):
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text("{}")
    save_file({"base_model.model.lora_A": torch.ones(2, 2)}, folder / "adapter_model.safetensors")


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


# id: (what transformers is asked to write, an edit of its files, what the line says)
REFUSED = {
    "query-biases-without-the-flag": ({}, add_tensors(self_attn__q_proj__bias=[HIDDEN]), [LAYERS, "self_attn.q_proj.bias"]),
    "qkv-biases-without-the-flag": ({}, add_tensors(**{name: [size] for name, size in BIASES.items()}), [3 * LAYERS, "_proj.bias"]),
    "all-biases-under-another-flag": ({"attention_bias": True}, set_fields(attention_bias=..., bias=True), ["'bias' is true"]),
    "mlp-biases-without-the-flag": ({"mlp_bias": True}, set_fields(mlp_bias=False), [3 * LAYERS, "mlp."]),
    "biases-promised-and-missing": ({}, set_fields(attention_bias=True), ["self_attn.q_proj.bias"]),
    "q_norm": ({}, add_tensors(self_attn__q_norm__weight=[HEAD], self_attn__k_norm__weight=[HEAD]), [2 * LAYERS, "_norm.weight"]),
    "more-layers-than-config": ({}, set_fields(num_hidden_layers=2), [9, "layers.2."]),
    "fewer-layers-than-config": ({}, set_fields(num_hidden_layers=4), ["layers.3."]),
    "lora": ({}, with_lora, [2 * LAYERS, "lora_"]),
    "weight_scale": ({}, add_tensors(self_attn__q_proj__weight_scale=[1]), [LAYERS, "weight_scale"]),
    "k_scale": ({}, add_tensors(self_attn__k_scale=[1]), [LAYERS, "k_scale"]),
    "router": ({}, add_tensors(mlp__gate__weight=[8, HIDDEN]), [LAYERS, "mlp.gate.weight"]),
    "a-value-head": ({}, change_tensors(lambda tensors: tensors | {"v_head.summary.weight": torch.ones(1, HIDDEN)}), [1, "v_head.summary.weight"]),
    "a-tensor-is-missing": ({}, change_tensors(without("model.norm.weight")), ["norm.weight"]),
    "untied-without-a-head": ({}, change_tensors(without("lm_head.weight")), ["lm_head.weight"]),
    "body-alone-untied": ({"body_alone": True}, nothing, ["lm_head.weight"]),
    "gptq": ({}, set_fields(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128}), ["quantization_config", "gptq"]),
    "awq": ({}, set_fields(quantization_config={"quant_method": "awq", "bits": 4}), ["quantization_config", "awq"]),
    "fp8": ({}, set_fields(quantization_config={"quant_method": "fp8", "activation_scheme": "dynamic"}), ["quantization_config", "fp8"]),
    "compressed-tensors": ({}, set_fields(quantization_config={"quant_method": "compressed-tensors", "format": "dense"}), ["compressed-tensors"]),
    "a-method-without-a-name": ({}, set_fields(quantization_config={"bits": 4}), ["quantization_config"]),
    "no-model-type": ({}, set_fields(model_type=...), ["model_type"]),
    "sliding-window-shorter-than-the-windows": ({}, set_fields(sliding_window=128, use_sliding_window=True), ["sliding_window", 128]),
    "embedding_multiplier": ({}, set_fields(embedding_multiplier=12.0), ["embedding_multiplier"]),
    "residual_multiplier": ({}, set_fields(residual_multiplier=0.22), ["residual_multiplier"]),
    "attention_multiplier": ({}, set_fields(attention_multiplier=0.0078125), ["attention_multiplier"]),
    "logits_scaling": ({}, set_fields(logits_scaling=8.0), ["logits_scaling"]),
    "final_logit_softcapping": ({}, set_fields(final_logit_softcapping=30.0), ["final_logit_softcapping"]),
    "attn_logit_softcapping": ({}, set_fields(attn_logit_softcapping=50.0), ["attn_logit_softcapping"]),
    "no_rope_layers": ({}, set_fields(no_rope_layers=[1, 1, 0]), ["no_rope_layers"]),
    "partial-rotary-of-an-odd-number": ({}, set_fields(partial_rotary_factor=0.1), ["partial_rotary_factor 0.1", "3 channels"]),
    "logn_attn": ({}, set_fields(use_logn_attn=True), ["use_logn_attn"]),
    "num_local_experts": ({}, set_fields(num_local_experts=8), ["num_local_experts"]),
    "rope-by-layer-type": ({}, set_fields(rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                                                           "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}), ["full_attention"]),
    "rope-type-unknown": ({}, as_version_4(rope_scaling={"type": "ntk", "factor": 2.0}), ["rope_type", "ntk"]),
    "another-activation": ({}, set_fields(hidden_act="gelu"), ["hidden_act", "gelu"]),
    "bos-null-and-bos-asked-for": ({}, set_fields(bos_token_id=None), ["bos"]),
    "pytorch-file-alone": ({}, as_pytorch_file, ["safetensors"]),
    "git-lfs-pointer": ({}, as_lfs_pointer, ["model.safetensors"]),
    "adapter-alone": ({}, as_adapter, ["safetensors"]),
    "file-cut-short": ({}, cut_short, ["model.safetensors"]),
    "a-shard-is-missing": (SHARDED, lambda folder: shard_of(folder, 1).unlink(), ["model-00002-of-"]),
}


@pytest.fixture
def refusal(evaluate, tmp_path):
    """refusal(what is written, edit, parts) -> the one line of `check` that holds the parts."""

    def check(written, edit, parts):
        folder = save_llama(tmp_path / "model", **written)
        edit(folder)
        process = evaluate("check", folder).process
        assert process.returncode == 1, (process.returncode, process.stdout, process.stderr)
        lines = [line for line in process.stderr.splitlines() if all(str(part) in line for part in parts)]
        assert len(lines) == 1, process.stderr
        return lines[0]

    return check


@pytest.mark.parametrize("kind", REFUSED)
def test_a_checkpoint_that_we_cannot_evaluate_is_refused_with_one_line_that_says_why(refusal, kind):
    refusal(*REFUSED[kind])


@pytest.mark.parametrize("family", ["gemma2", "olmo2", "cohere", "mixtral"])
def test_another_family_is_refused_without_tempting_anybody_to_rename_it(refusal, family):
    line = refusal({}, set_fields(model_type=family), ["model_type", family])
    assert 'expected "llama"' not in line and "set model_type" not in line
