"""scripts/import_checkpoint on compressed-tensors with several groups: a layer is of the one that means it most narrowly, whatever their order."""
import json

import pytest
import torch
from safetensors.torch import load_file

from checkpoints import save_llama
from import_edits import group_0, options, refused
from quantized import packed, rounded, write
from test_import_checkpoint import INT8, SCRIPT, TOKEN, W8, nll

WEIGHTS = {"type": "int", "strategy": "group", "group_size": 32}
ONE = "model.layers.1.mlp.down_proj"
# Targets, bits and whether the grid is symmetric, from the widest to the narrowest.
GROUPS = {"class": (["Linear"], 4, True), "expression": (["re:.*down_proj"], 4, False), "second expression": (["re:.*mlp.down_proj"], 8, True),
          "name": ([ONE], 8, False)}


def group_of(layer):
    return "name" if layer == ONE else "expression" if layer.endswith("down_proj") else "class"


def several(source, folder, order=tuple(GROUPS), inputs=None):
    def change(layer, weight):
        _, bits, symmetric = GROUPS[group_of(layer)]
        index = torch.arange(weight.shape[1]) // 32
        codes, scale, zero = rounded(weight, bits, index, symmetric)
        parts = {"weight_packed": packed(codes, bits), "weight_scale": scale, "weight_shape": torch.tensor(weight.shape)}
        if not symmetric:
            parts["weight_zero_point"] = packed(zero.T, bits).T
        return parts, (codes - zero[:, index]).float() * scale[:, index]

    groups = {name: {"targets": GROUPS[name][0], "weights": WEIGHTS | {"num_bits": GROUPS[name][1], "symmetric": GROUPS[name][2]},
                     "input_activations": (inputs or {}).get(name), "format": "pack-quantized"} for name in order}
    return write(source, folder, {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "ignore": ["lm_head"],
                                  "config_groups": groups}, change)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("plain") / "model", intermediate_size=384, num_hidden_layers=2)


@pytest.mark.parametrize("order", [tuple(GROUPS), tuple(reversed(GROUPS))])
def test_the_group_that_means_a_layer_most_narrowly_has_it(plain, tmp_path, order):
    weights = several(plain, tmp_path / "model", order)
    assert SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None) == []
    found = load_file(tmp_path / "out/model.safetensors")
    assert len(weights) == 14 and all(torch.equal(found[f"{name}.weight"], weight) for name, weight in weights.items())
    pytest.importorskip("compressed_tensors")
    assert nll(tmp_path / "out") == pytest.approx(nll(tmp_path / "model", device_map="cpu"), abs=1e-5)  # which ranks targets itself


def test_the_rules_are_those_of_each_layer_s_group(plain, tmp_path):
    several(plain, tmp_path / "model", inputs={"class": W8 | TOKEN, "expression": W8 | TOKEN | {"symmetric": False}})
    lines = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    assert [line for line in lines if "down_proj" in line] == [f'  - {{match: "layers.0.mlp.down_proj", input: {INT8.replace("true", "false")}}}']
    assert [line for line in lines if line.startswith("  ") and "down_proj" not in line] == [
        f'  - {{match: "layers.*.{site}", input: {INT8}}}' for site in (
            "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj")]


def test_a_zero_point_in_a_symmetric_group_is_refused_unless_it_is_zero(small_made):
    folder = small_made("packed")
    group_0(symmetric=True)(folder)
    assert "weight_zero_point' is not 0, and quantization_config says symmetric" in refused(folder)


def test_what_no_rule_rounds_is_said(small_made, tmp_path):
    folder = small_made("packed")
    groups = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]["config_groups"]
    assert SCRIPT.import_checkpoint(folder, tmp_path / "plain", None) == []
    groups["group_0"]["output_activations"] = W8 | TOKEN
    groups["attention"] = {"targets": ["re:.*self_attn$\n"], "weights": None, "input_activations": W8 | TOKEN}
    options(config_groups=groups)(folder)
    assert SCRIPT.import_checkpoint(folder, tmp_path / "out", None) == [
        "# outputs of Linear are rounded when the format runs, for which the program has no rule: left out",
        "# inputs of re:.*self_attn$\\n, which have no quantized weights, are rounded when the format runs, for which the program has no rule: left out"]
