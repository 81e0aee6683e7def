"""scripts/import_checkpoint on checkpoints that the field's tools made: the weights are theirs bit for bit, and transformers predicts the same with both."""
import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader

import pytest
import torch
import transformers
import xxhash
import yaml
from safetensors.torch import load_file

from checkpoints import TOKENIZER, VOCAB, save_llama
from quantized import awq, compressed_act_order, fp8, gptq, modelopt_nvfp4
from quantized_by_tools import bits_and_bytes, compressed, hqq, torch_ao, torch_ao_int4
from support.program import REPO, read_csv, read_rows, write_token_file

sys.path.insert(0, str(REPO / "scripts"))
LOADER = SourceFileLoader("import_checkpoint", str(REPO / "scripts/import_checkpoint"))
SCRIPT = importlib.util.module_from_spec(importlib.util.spec_from_loader("import_checkpoint", LOADER))
LOADER.exec_module(SCRIPT)


def ao(name, dtype=torch.float32, **arguments):
    def config():
        quantization = pytest.importorskip("torchao.quantization")
        return getattr(quantization, name)(**{key: value(quantization) if callable(value) else value for key, value in arguments.items()})

    return torch_ao(config, dtype)


W4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}
W8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
F8 = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
F4 = {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16, "scale_dtype": torch.float8_e4m3fn}
TOKEN = {"dynamic": True, "strategy": "token"}
INT8 = "{type: rtn, bits: 8, group: 0, symmetric: true, zero: included}"

# What is made: the package it needs, its maker, the label and the rule for inputs in imported.json and on the screen.
CASES = {
    "gptq 2": (None, gptq(2, 16, symmetric=False), "GPTQ W2 g16 asym", None),
    "gptq 3": (None, gptq(3, 32, symmetric=False), "GPTQ W3 g32 asym", None),
    "gptq 4": (None, gptq(), "GPTQ W4 g32", None),
    "gptq 8 channel": (None, gptq(8, -1), "GPTQ W8 channel", None),
    "gptq act-order": (None, gptq(act_order=True, symmetric=False), "GPTQ W4 g32 asym", None),
    "gptq v2": (None, gptq(form="gptq_v2", symmetric=False), "GPTQ W4 g32 asym", None),
    "awq": (None, awq(), "AWQ W4 g32 asym", None),
    "W4A16": ("compressed_tensors", compressed("pack-quantized", W4), "W4A16 g32", None),
    "W4A16 bfloat16 scales": ("compressed_tensors", compressed("pack-quantized", W4, dtype=torch.bfloat16), "W4A16 g32", None),
    "W4A16 asym": ("compressed_tensors", compressed("pack-quantized", W4 | {"symmetric": False}), "W4A16 g32 asym", None),
    "W8A16": ("compressed_tensors", compressed("pack-quantized", W8), "W8A16 channel", None),
    "W4A16 tensor": ("compressed_tensors", compressed("pack-quantized", {"num_bits": 4, "strategy": "tensor"}), "W4A16 tensor", None),
    "W3A16": ("compressed_tensors", compressed("pack-quantized", W4 | {"num_bits": 3, "symmetric": False}), "W3A16 g32 asym", None),
    "W4A16 act-order": (None, compressed_act_order, "W4A16 g32 asym", None),
    "W8A8": ("compressed_tensors", compressed("int-quantized", W8, W8 | TOKEN), "W8A8 channel", INT8),
    "W8A8 asym": ("compressed_tensors", compressed("int-quantized", W8 | {"symmetric": False}, W8 | TOKEN | {"symmetric": False}), "W8A8 channel asym",
                  "{type: rtn, bits: 8, group: 0, symmetric: false, zero: included}"),
    "FP8 static": ("compressed_tensors", compressed("float-quantized", F8 | {"strategy": "tensor"}, F8 | {"strategy": "tensor"}), "FP8 tensor",
                   "{type: fp8, group: -1, static: true}"),
    "FP8 dynamic": ("compressed_tensors", compressed("float-quantized", F8, F8 | TOKEN), "FP8 channel", "{type: fp8, group: 0}"),
    "FP8 block": ("compressed_tensors", compressed("float-quantized", F8 | {"strategy": "block", "block_structure": [32, 64]},
                                                   F8 | {"dynamic": True, "strategy": "group", "group_size": 64}), "FP8 block 32x64", "{type: fp8, group: 64}"),
    "naive": ("compressed_tensors", compressed("naive-quantized", W8), "W8A16 channel", None),
    "NVFP4A16": ("compressed_tensors", compressed("nvfp4-pack-quantized", F4), "NVFP4A16", None),
    "NVFP4": ("compressed_tensors", compressed("nvfp4-pack-quantized", F4, F4 | {"dynamic": "local"}), "NVFP4", "{type: nvfp4, static: true}"),
    "MXFP4": ("compressed_tensors", compressed("mxfp4-pack-quantized", F4 | {"strategy": "group", "group_size": 32, "scale_dtype": torch.uint8}),
              "MXFP4A16", None),
    "dense": ("compressed_tensors", compressed("dense", W4, status="frozen"), "W4A16 g32", None),
    "fp8 tensor": (None, fp8(activation_scheme="static", more_parts=["input_scale"]), "FP8 tensor", "{type: fp8, group: -1, static: true}"),
    "fp8 channel": (None, fp8(over="channel"), "FP8 channel", "{type: fp8, group: 0}"),
    "fp8 block": (None, fp8(over=(48, 128), name="weight_scale_inv", weight_block_size=[48, 128]), "FP8 block 48x128", "{type: fp8, group: 128}"),
    "fp8 default block": (None, fp8(over=(128, 128), name="weight_scale_inv"), "FP8 block 128x128", "{type: fp8, group: 128}"),
    "fp8 ue8m0": (None, fp8(over=(128, 128), name="weight_scale_inv", scale_fmt="ue8m0"), "FP8 block 128x128", None),
    "fbgemm": (None, fp8("fbgemm_fp8", "channel"), "FBGEMM FP8 channel", "{type: fp8, group: 0}"),
    "modelopt": (None, fp8("modelopt", more_parts=["input_scale"], quant_algo="FP8"), "FP8 tensor (ModelOpt)", "{type: fp8, group: -1, static: true}"),
    "modelopt NVFP4": ("compressed_tensors", modelopt_nvfp4, "NVFP4 (ModelOpt)", "{type: nvfp4, static: true}"),
    "NF4 dq": ("bitsandbytes", bits_and_bytes(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True), "bnb NF4 b64 dq", None),
    "NF4": ("bitsandbytes", bits_and_bytes(load_in_4bit=True, bnb_4bit_quant_type="nf4"), "bnb NF4 b64", None),
    "FP4": ("bitsandbytes", bits_and_bytes(load_in_4bit=True, bnb_4bit_quant_type="fp4"), "bnb FP4 b64", None),
    "NF4 in floats": ("bitsandbytes", bits_and_bytes(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_quant_storage="bfloat16"), "bnb NF4 b64", None),
    "LLM.int8": ("bitsandbytes", bits_and_bytes(load_in_8bit=True), "bnb LLM.int8", "{type: rtn, bits: 8, group: 0, symmetric: true, zero: plain}"),
    **{f"HQQ {bits} axis {axis}": ("hqq", hqq(bits, 32, axis), f"HQQ W{bits} g32", None) for bits in (1, 2, 3, 4, 8) for axis in (0, 1)},
    "HQQ float": ("hqq", hqq(4, 32, 1, as_float=True), "HQQ W4 g32", None),
    "torchao W8": ("torchao", ao("Int8WeightOnlyConfig", torch.bfloat16), "torchao W8 channel", None),
    "torchao W4": ("torchao", ao("IntxWeightOnlyConfig", weight_dtype=torch.int4, granularity=lambda q: q.PerGroup(32),
                                 mapping_type=lambda q: q.MappingType.ASYMMETRIC),
                   "torchao W4 g32 asym", None),
    "torchao int4": ("torchao", torch_ao_int4, "torchao W4 g32 asym", None),
    "torchao W8A8": ("torchao", ao("Int8DynamicActivationInt8WeightConfig"), "torchao W8 channel", INT8),
    "torchao FP8": ("torchao", ao("Float8WeightOnlyConfig"), "torchao FP8 channel", None),
}
# Which of these transformers runs on a CPU as they are, with inputs in full precision.
RUNS = ("W4A16", "W4A16 asym", "W8A16", "W4A16 tensor", "dense", "NF4 dq", "NF4", "FP4", "NF4 in floats", "torchao W8", "torchao W4", "torchao FP8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("plain") / "model", intermediate_size=384, num_hidden_layers=2)


@pytest.fixture(scope="module")
def made(plain, tmp_path_factory):
    """made(case) -> the folder of the checkpoint, its weights, that of the import, the lines it printed."""
    kept = {}

    def make(case):
        if case not in kept:
            package, maker, _, _ = CASES[case]
            if package:
                pytest.importorskip(package)
            folder = tmp_path_factory.mktemp("made") / "model"
            weights = maker(plain, folder)
            out = folder.with_name("imported")
            kept[case] = folder, weights, out, SCRIPT.import_checkpoint(folder, out, None)
        return kept[case]

    return make


@pytest.mark.parametrize("case", CASES)
def test_every_weight_is_what_the_format_defines(made, plain, case):
    _, weights, out, _ = made(case)
    found, original = load_file(out / "model.safetensors"), load_file(plain / "model.safetensors")
    assert len(weights) == 14 and found.keys() == original.keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        wanted = weights.get(name.removesuffix(".weight"))
        if wanted is None:
            assert torch.equal(tensor, original[name].to(torch.bfloat16).float() if case == "torchao W8" else original[name]), name
        else:
            assert torch.equal(tensor, wanted.float()), (name, (tensor - wanted).abs().max())
            assert 0 < (tensor - original[name]).norm() < (1.2 if " 1 " in case else 0.5) * original[name].norm(), name  # rounded, and not mixed up


@pytest.mark.parametrize("case", CASES)
def test_what_is_imported_is_said(made, case):
    folder, weights, out, lines = made(case)
    record = json.loads((out / "imported.json").read_text(encoding="utf-8"))
    assert record["label"] == CASES[case][2] and len(record["label"]) <= 24
    assert record["quantized"] == 14 and record["kept"] == ["lm_head"] and record["source"] == folder.name and len(record["source_hash"]) == 64
    low, high = (1, 10) if "HQQ" in case else (2, 9)
    assert low < record["bits_per_weight"] < high
    rule = CASES[case][3]
    assert [line for line in lines if not line.startswith("#")] == (["quant:", f'  - {{match: "layers.*", input: {rule}}}'] if rule else [])
    assert "quantization_config" not in json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("case, said", [("fbgemm", "inputs beyond 1200 (activation_scale_ub) are cut off when"), ("fp8 ue8m0", "a power of two for each block")])
def test_what_no_rule_does_is_said(made, case, said):
    assert [line for line in made(case)[3] if line.startswith("# ") and said in line and "the program has no rule: left out" in line]


def nll(folder, **options):
    tokens = torch.randint(3, VOCAB, (2, 128), generator=torch.Generator().manual_seed(0))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **options)
    if getattr(model, "quantization_method", None) == "bitsandbytes":
        model = model.dequantize()  # whose kernels for CPUs take inputs in bfloat16
    with torch.no_grad():
        return float(model(tokens, labels=tokens).loss)


@pytest.mark.parametrize("case", RUNS)
def test_transformers_predicts_the_same_with_both(made, plain, case):
    folder, _, out, _ = made(case)
    expected = nll(folder, device_map="cpu")
    assert nll(out) == pytest.approx(expected, abs=1e-5)
    assert abs(expected - nll(plain)) > 1e-4  # which quantization changes


@pytest.mark.parametrize("case", ["W8A8", "W8A8 asym", "FP8 dynamic", "FP8 block"])
def test_the_program_with_the_printed_rules_predicts_what_transformers_does_with_the_original(made, run, experiment, tmp_path, case):
    """An input that lies between two codes falls to either side in another order of addition, and with a symmetric grid the most negative one of a token
    always does, x / (x / 127.5).  So the original differs from itself in another dtype, in the loss of every window; the program may by as much."""
    folder, _, out, lines = made(case)
    tokens = torch.randint(3, TOKENIZER, (512, 15), generator=torch.Generator().manual_seed(0))
    documents = {f"{i:03}": ids for i, ids in enumerate(tokens.tolist())}
    write_token_file(tmp_path / "random.tok", xxhash.xxh3_128_hexdigest((out / "tokenizer.json").read_bytes()), documents, TOKENIZER)
    losses = {}
    for name, rules in (("with", yaml.safe_load("\n".join(lines))["quant"]), ("without", [])):
        cell = {"model": {"path": str(out), "device": "cpu", "dtype": "float64"}, "data.path": str(tmp_path / "random.tok"), "data.documents": 0,
                "data.min_tokens": 1, "windows": {"length": 16, "bos": True}, "sweep": None, "quant": rules}
        process = run("run", experiment(cell), "--results", tmp_path / name)
        assert process.returncode == 0, process.stderr
        ((_, row),) = read_rows(tmp_path / name).items()
        assert row["environment"]["dtype"] == "float64"
        (windows,) = (tmp_path / name).glob("cells/*/windows.csv")
        losses[name] = torch.tensor([float(window["nll_sum"]) for window in read_csv(windows.read_text(encoding="utf-8"))], dtype=torch.float64)
    rows = torch.nn.functional.pad(tokens, (1, 0), value=1)
    for dtype in (torch.float64, torch.float32):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", device_map="cpu")
        with torch.no_grad():
            logits = model(rows).logits[:, :-1].double()
        losses[dtype] = torch.nn.functional.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none").sum(1)
    error = {name: float((found - losses[torch.float64]).norm()) for name, found in losses.items()}
    assert error["with"] < 1.2 * error[torch.float32] and error["without"] > 1.3 * error[torch.float32]
