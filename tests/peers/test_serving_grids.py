"""Grids that serving stacks hold: codes and scales of configs/quant against compressed-tensors and the steps of AutoAWQ's grid (not of its search for
scales), bit for bit, and against the steps of GPTQModel; and packed exports, as transformers loads them."""
import json

import pytest
import torch
import transformers
import xxhash
import yaml
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize as library_fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file

from checkpoints import BASE, TOKENIZER, change_tensors, in_order, save_model, set_fields
from conftest import REPO
from support.program import write_token_file

PRESET = {name: yaml.safe_load((REPO / f"configs/quant/{name}.yaml").read_text(encoding="utf-8"))["quant"][0]["weight"]
          for name in ("w4a16_llmcompressor", "w4a16_autoawq", "w4a16_gptqmodel")}


def matrices(dtype):
    """Weights that are numbers of the dtype, with rows of zeros, of one sign and far apart."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(48, 512, generator=generator) * 0.02
    weight[3] = 0
    weight[5].abs_()
    weight[7] *= 2.0**-8
    weight[9, 100] = 3.0
    return {"w": weight.to(dtype).float()}


def by_compressed_tensors(weight, group, symmetric):
    args = QuantizationArgs(num_bits=4, symmetric=symmetric, strategy="group", group_size=group)
    groups = weight.unflatten(1, (-1, group))
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    return library_fake_quantize(weight, scale, zero, args)


def test_the_preset_of_llm_compressor_has_the_codes_of_compressed_tensors(fake_quantize):
    weights, group = matrices(torch.bfloat16), PRESET["w4a16_llmcompressor"]["group"]
    found = fake_quantize(weights, yaml.safe_dump(PRESET["w4a16_llmcompressor"], default_flow_style=True))
    expected = by_compressed_tensors(weights["w"].bfloat16(), group, symmetric=True).float()
    assert torch.equal(found["w"], expected)
    assert not torch.equal(found["w"], by_compressed_tensors(weights["w"], group, symmetric=True))  # float32's grid is another


def test_the_grid_of_autoawq_is_computed_in_float16(fake_quantize):
    """The steps of AutoAWQ's pseudo_quantize_tensor (88e4c76), which needs a GPU's packages to be imported."""
    weights = matrices(torch.float16)
    grid = {"type": "rtn", "zero": "awq"} | {key: PRESET["w4a16_autoawq"][key] for key in ("bits", "group", "scale_dtype")}
    found = fake_quantize(weights, yaml.safe_dump(grid, default_flow_style=True))
    w = weights["w"].half().unflatten(1, (-1, grid["group"]))
    low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
    scale = (high - low).clamp(min=1e-5) / 15
    zero = (-torch.round(low / scale)).clamp_(0, 15)
    expected = (torch.clamp(torch.round(w / scale) + zero, 0, 15) - zero) * scale
    assert torch.equal(found["w"], expected.flatten(1).float())


def by_gptqmodel(weight, inputs, rule, damp):
    """The steps of GPTQModel's gptq.py and quantizer.py (b39fa13) for one layer, which are those of act_group_aware=False, in float32."""
    group, columns = rule["group"], weight.shape[1]
    hessian = 2 / len(inputs) * inputs.T @ inputs
    hessian += damp * hessian.diagonal().mean() * torch.eye(columns)
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    weight, found = weight.clone(), torch.zeros_like(weight)
    for begin in range(0, columns, 128):
        end = min(begin + 128, columns)
        block, errors = weight[:, begin:end].clone(), torch.zeros(len(weight), end - begin)
        for i, column in enumerate(range(begin, end)):
            if column % group == 0:  # of the weights before this block's errors have reached them
                scale = 2 * weight[:, column:column + group].abs().amax(1) / 15
            code = (block[:, i] / scale).round().add(8).clamp(0, 15) - 8
            found[:, column] = code * scale.to(getattr(torch, rule["scale_dtype"])).float()  # as it is packed
            errors[:, i] = (block[:, i] - code * scale) / factor[column, column]
            block[:, i:] -= errors[:, i, None] * factor[column, column:end]
        weight[:, end:] -= errors @ factor[begin:end, end:]
    return found


def test_the_preset_of_gptqmodel_has_the_codes_of_its_steps(evaluate, tmp_path):
    rule = PRESET["w4a16_gptqmodel"]
    config = BASE | {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}
    folder, site = save_model(tmp_path / "model", transformers.LlamaConfig(**config)), "layers.0.self_attn.q_proj"
    tokens = torch.randint(3, TOKENIZER, (8, 128), generator=torch.Generator().manual_seed(0))
    write_token_file(tmp_path / "calibration.tok", xxhash.xxh3_128_hexdigest((folder / "tokenizer.json").read_bytes()),
                     {str(number): text for number, text in enumerate(tokens.tolist())}, config["vocab_size"])
    process = evaluate("run", folder, {
        "calibration": {"data": {"path": str(tmp_path / "calibration.tok")}, "samples": 8, "length": 128}, "quant": [{"match": site, "weight": rule}],
        "export": {"folder": str(tmp_path / "exported")}}).process
    assert process.returncode == 0, process.stderr
    found = load_file(tmp_path / "exported/model.safetensors")[f"model.{site}.weight"]
    model, inputs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), []
    layer = model.get_submodule(f"model.{site}")
    layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].flatten(0, 1)))
    with torch.inference_mode():
        model(tokens)
        expected, other = (by_gptqmodel(layer.weight, inputs[0], rule, damp) for damp in (rule["percdamp"], 0.01))
    # Sums in another order move a weight that lies between two codes to the other, and what its error reaches; measured: 0.
    assert (found != expected).float().mean() < 1e-3
    assert (found != other).float().mean() > 1e-2


FAMILIES = {"llama": ("Llama", {}), "qwen3": ("Qwen3", {"head_dim": 32}), "phi3": ("Phi3", {})}
RULES = {
    "symmetric": {"type": "rtn", "bits": 4, "group": 32, "symmetric": True, "zero": "included"},
    "asymmetric": {"type": "rtn", "bits": 4, "group": 32, "zero": "included"},
    "a-row": {"type": "rtn", "bits": 4, "group": 0, "symmetric": True},
    "gptq": {"type": "gptq", "bits": 4, "group": 32, "symmetric": True},
    "awq": {"type": "awq", "bits": 4, "group": 32},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_packed_export_is_the_row_s_model_in_transformers(evaluate, tmp_path, family, rule, dtype):
    if (dtype, rule) == ("bfloat16", "gptq") and family != "llama":
        return  # one family's is enough of the slowest
    kind, fields = FAMILIES[family]
    folder = save_model(tmp_path / "model", getattr(transformers, f"{kind}Config")(**(BASE | fields)))
    in_order(change_tensors(lambda tensors: {name: x.to(getattr(torch, dtype)) for name, x in tensors.items()}), set_fields(dtype=dtype))(folder)
    (tmp_path / "calibration.jsonl").write_text(json.dumps({"id": "c", "text": "some words of calibration " * 60}) + "\n", encoding="utf-8")
    calibration = {"data": {"path": str(tmp_path / "calibration.jsonl")}, "samples": 2, "length": 128}
    evaluated = evaluate("run", folder, ({"calibration": calibration} if rule in ("gptq", "awq") else {}) | {
        "model.dtype": dtype, "quant": [{"match": "layers.*", "weight": RULES[rule] | {"scale_dtype": dtype}}],
        "rescale": {"type": "bands", "bands": 2, "scales": [1.0, 1.1]}, "rope": {"type": "yarn", "factor": 2},
        "export": {"folder": str(tmp_path / "packed"), "weights": "packed"}})
    assert evaluated.nll()
    stored = load_file(tmp_path / "packed/model.safetensors")
    assert not [name for name in stored if name.endswith("_proj.weight")]
    config = json.loads((tmp_path / "packed/config.json").read_text(encoding="utf-8"))["quantization_config"]
    assert config["format"] == "pack-quantized" and "lm_head" in config["ignore"]
    if dtype == "float32":
        evaluated.assert_as_transformers(tmp_path / "packed")
        return
    # In bfloat16 two programs round apart; the weights are the same bit for bit.
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "packed", dtype=torch.bfloat16)
    assert model.get_output_embeddings().weight.dtype == torch.bfloat16
    assert transformers_nll_near(model, evaluated)


def transformers_nll_near(model, evaluated):
    sums = []
    for tokens in evaluated.texts.values():
        window = torch.tensor([[1, *tokens][: evaluated.windows["length"]]])
        with torch.inference_mode():
            logits = model(window).logits[0, :-1].double()
        sums.append(torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item())
    return sums == pytest.approx(evaluated.nll(), rel=5e-3)


@pytest.mark.parametrize("rule, parts", [
    ({"type": "rtn", "bits": 3, "group": 32, "symmetric": True}, ["bits: 4"]),
    ({"type": "nf4", "block": 32}, ["rtn, awq or gptq"]),
    ({"type": "rtn", "bits": 4, "group": 32}, ["zero: included"]),
    ({"type": "rtn", "bits": 4, "group": 32, "symmetric": True, "scale_dtype": "float16"}, ["scale_dtype: float32"]),
    ({"type": "none"}, ["quantizes no weights"]),
])
def test_what_codes_of_four_bits_cannot_hold_is_refused(evaluate, tmp_path, rule, parts):
    folder = save_model(tmp_path / "model", transformers.LlamaConfig(**BASE))
    process = evaluate("check", folder, {"quant": [{"match": "layers.*", "weight": rule}], "export": {"folder": str(tmp_path / "out"), "weights": "packed"}}).process
    assert process.returncode == 1
    assert [line for line in process.stderr.splitlines() if "weights: packed" in line and all(part in line for part in parts)], process.stderr
