"""What scripts/import_checkpoint counts in imported.json, how it and the printed rules name layers, which biases it leaves out, and what its hash is of."""
import json
import shutil

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file

from checkpoints import BASE, change_tensors, save_model, set_fields
from quantized import fp8, gptq, write
from test_import_checkpoint import INT8, SCRIPT, TOKEN, W8
from test_import_folders import bin_of

SMALL = BASE | {"num_hidden_layers": 2, "intermediate_size": 256}
DOWN, REST = 128 * 256, 2 * 128 * 128 + 2 * 64 * 128 + 2 * 128 * 256  # weights of a layer of SMALL


def record_of(folder):
    SCRIPT.import_checkpoint(folder, folder.with_name("out"), None)
    return json.loads((folder.with_name("out") / "imported.json").read_text(encoding="utf-8"))


def keep(source, ends, dtype=None):
    """An edit that gives layers whose names end so their plain weights back."""
    original = load_file(source / "model.safetensors")

    def change(tensors):
        layers = {name.removesuffix(".weight") for name in original if name.removesuffix(".weight").endswith(ends)}
        rest = {name: tensor for name, tensor in tensors.items() if not any(name.startswith(f"{layer}.") for layer in layers)}
        return rest | {f"{layer}.weight": original[f"{layer}.weight"].to(dtype) for layer in layers}

    return change_tensors(change)


def dense(source, folder):
    write(source, folder, {"quant_method": "compressed-tensors", "format": "dense", "config_groups": {}},
          lambda layer, weight: ({"weight": weight}, weight))


def pickled(source, folder):
    shutil.copytree(source, folder)
    bin_of()(folder)


@pytest.mark.parametrize("make, method", [(pickled, "none"), (dense, "compressed-tensors")])
def test_a_folder_without_quantized_layers_has_neither_a_label_nor_bits(small_plain, tmp_path, make, method):
    make(small_plain, tmp_path / "model")
    record = record_of(tmp_path / "model")
    assert record.keys() == {"method", "quantized", "kept", "source", "source_hash", "libraries"}
    assert (record["method"], record["quantized"], record["kept"], record["source"]) == (method, 0, ["layers.*", "lm_head"], "model")


@pytest.mark.parametrize("dtype, bits", [(torch.float32, 32), (torch.bfloat16, 16)])
def test_bits_per_weight_is_the_mean_over_all_linear_layers_of_the_decoder(tmp_path, dtype, bits):
    plain = save_model(tmp_path / "plain", transformers.LlamaConfig(**SMALL))
    gptq()(plain, tmp_path / "model")
    alone = 4 + 16 / 32 + 4 / 32  # a code, and a scale and a zero for 32
    assert record_of(tmp_path / "model")["bits_per_weight"] == pytest.approx(alone)
    shutil.rmtree(tmp_path / "out")
    keep(plain, "down_proj", dtype)(tmp_path / "model")
    record = record_of(tmp_path / "model")
    assert record["bits_per_weight"] == pytest.approx((REST * alone + DOWN * bits) / (REST + DOWN))
    assert record["kept"] == ["layers.*.mlp.down_proj", "lm_head"]


def test_a_quantized_head_is_not_counted(small_made):
    folder = small_made("gptq")
    bits = record_of(folder)["bits_per_weight"]
    shutil.rmtree(folder.with_name("out"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def head(tensors):
        parts = {"qweight": torch.zeros(16, config["vocab_size"], dtype=torch.int32), "scales": torch.ones(4, config["vocab_size"]).half(),
                 "qzeros": torch.zeros(4, config["vocab_size"] // 8, dtype=torch.int32), "g_idx": torch.arange(128, dtype=torch.int32) // 32}
        return {name: x for name, x in tensors.items() if name != "lm_head.weight"} | {f"lm_head.{part}": x for part, x in parts.items()}

    change_tensors(head)(folder)
    record = record_of(folder)
    assert record["bits_per_weight"] == bits and record["quantized"] == 8 and record["kept"] == []


def int8(source, folder):
    """W8A8 with a scale a row and a token, as llm-compressor writes it."""

    def change(layer, weight):
        scale = weight.abs().amax(1, keepdim=True) / 127.5
        return {"weight": (weight / scale).round().clamp(-128, 127).to(torch.int8), "weight_scale": scale}, weight

    group = {"targets": ["Linear"], "weights": W8, "input_activations": W8 | TOKEN}
    write(source, folder, {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"group_0": group}}, change)


@pytest.mark.parametrize("kept, matches", [
    ("down_proj", ["layers.*.mlp.gate_proj", "layers.*.mlp.up_proj", *(f"layers.*.self_attn.{name}_proj" for name in "koqv")]),
    ("gate_up_proj", ["layers.*.mlp.down_proj", *(f"layers.*.self_attn.{name}_proj" for name in "koqv")])])
def test_the_fused_layers_of_phi_3_have_the_names_that_rules_match(evaluate, tmp_path, kept, matches):
    plain = save_model(tmp_path / "plain", transformers.Phi3Config(**SMALL))
    int8(plain, tmp_path / "model")
    keep(plain, kept)(tmp_path / "model")
    lines = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    assert lines == ["quant:", *(f'  - {{match: "{match}", input: {INT8}}}' for match in matches)]
    record = json.loads((tmp_path / "out/imported.json").read_text(encoding="utf-8"))
    assert record["kept"] == [f"layers.*.mlp.{name}" for name in (("gate_proj", "up_proj") if "gate" in kept else ("down_proj",))] + ["lm_head"]
    assert record["quantized"] == 14 - 2 * (2 if "gate" in kept else 1)
    assert evaluate("run", tmp_path / "out", {"quant": yaml.safe_load("\n".join(lines))["quant"]}).nll()


def test_a_layer_whose_name_is_no_name_ends_no_line_and_no_text(small_plain, tmp_path):
    odd, kept = 'a\x1b[2J"}\n}', {"model.layers.0.b.weight": torch.ones(2, 2)}
    fp8()(small_plain, tmp_path / "model")
    more = {f"model.layers.0.{odd}.weight": torch.ones(2, 2).to(torch.float8_e4m3fn), f"model.layers.0.{odd}.weight_scale": torch.ones(())}
    change_tensors(lambda tensors: tensors | more | kept)(tmp_path / "model")
    lines = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    assert all(line.isprintable() for line in lines) and f"layers.*.{odd}" in [rule["match"] for rule in yaml.safe_load("\n".join(lines))["quant"]]


def test_a_strategy_that_ends_a_line_stays_in_its_comment(small_plain, tmp_path):
    int8(small_plain, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text(encoding="utf-8"))["quantization_config"]
    config["config_groups"]["group_0"]["input_activations"]["strategy"] = "row\nquant: []"
    set_fields(quantization_config=config)(tmp_path / "model")
    (line,) = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    assert line.isprintable() and line.startswith(r"# inputs are int8, one scale a row\nquant: [] when the format runs")


# Families, keys of config.json, and the layers of theirs that have biases.
BIASES = {"llama": ("Llama", {}, ()), "llama with some": ("Llama", {"attention_bias": True}, ("q_proj", "k_proj", "v_proj", "o_proj")),
          "qwen2": ("Qwen2", {}, ("q_proj", "k_proj", "v_proj")), "qwen3": ("Qwen3", {"head_dim": 32}, ()), "phi3": ("Phi3", {}, ()),
          "granite": ("Granite", {"mlp_bias": True}, ("gate_proj", "up_proj", "down_proj"))}


@pytest.mark.parametrize("case", BIASES)
def test_empty_biases_are_left_out_where_the_family_has_none(evaluate, tmp_path, case):
    kind, fields, biased = BIASES[case]
    plain = save_model(tmp_path / "plain", getattr(transformers, f"{kind}Config")(**(BASE | {"num_hidden_layers": 1, "intermediate_size": 256} | fields)))
    gptq()(plain, tmp_path / "model")
    change_tensors(lambda tensors: tensors | {name.replace("qweight", "bias"): torch.zeros(x.shape[1]) for name, x in tensors.items() if "qweight" in name})(
        tmp_path / "model")
    SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    found = {name.split(".")[-2] for name in load_file(tmp_path / "out/model.safetensors") if name.endswith(".bias")}
    assert found == set(biased)
    assert evaluate("run", tmp_path / "out").nll()


@pytest.mark.parametrize("name, make, says", [
    ("quantize_config.json", gptq(), {"bits": 4, "group_size": 32, "sym": True}),
    ("hf_quant_config.json", fp8("modelopt", quant_algo="FP8"), {"quantization": {"quant_algo": "FP8"}})])
def test_the_hash_is_also_of_the_file_that_says_how_weights_are_quantized(small_plain, tmp_path, name, make, says):
    make(small_plain, tmp_path / "model")
    hashes = [record_of(tmp_path / "model")["source_hash"]]
    (tmp_path / "model" / name).write_text(json.dumps(says), encoding="utf-8")  # which is not read as long as config.json says it
    for edit in (set_fields(), set_fields(quantization_config=...), lambda folder: (folder / name).write_text(json.dumps(says | {"x": 1}), encoding="utf-8")):
        edit(tmp_path / "model")
        shutil.rmtree(tmp_path / "out")
        hashes.append(record_of(tmp_path / "model")["source_hash"])
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3
