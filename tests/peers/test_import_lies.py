"""scripts/import_checkpoint on checkpoints that lie, on other containers of weights, and when it is stopped."""
import json
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints import change_tensors, in_order, save_llama, set_fields
from quantized import awq, bits_and_bytes, compressed, compressed_act_order, fp8, gptq, hqq, modelopt_nvfp4, torch_ao
from support.program import REPO, assert_one_line, litter
from test_import_checkpoint import F4, F8, SCRIPT, W4

from json_lines import BadInput, printable  # test_import_checkpoint has put scripts/ on the path

LAYER = "model.layers.0.self_attn.q_proj"


def int8(source, folder):
    from torchao.quantization import Int8WeightOnlyConfig

    return torch_ao(Int8WeightOnlyConfig)(source, folder)


MAKERS = {
    "gptq": (None, gptq(symmetric=False)), "awq": (None, awq()), "packed": ("compressed_tensors", compressed("pack-quantized", W4 | {"symmetric": False})),
    "act-order": (None, compressed_act_order), "nvfp4": ("compressed_tensors", compressed("nvfp4-pack-quantized", F4)),
    "block": ("compressed_tensors", compressed("float-quantized", F8 | {"strategy": "block", "block_structure": [32, 64]})),
    "fp8": (None, fp8()), "modelopt": ("compressed_tensors", modelopt_nvfp4), "hqq": ("hqq", hqq(4, 32, 1)), "torchao": ("torchao", int8),
    "nf4": ("bitsandbytes", bits_and_bytes(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
    "int8": ("bitsandbytes", bits_and_bytes(load_in_8bit=True)),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("plain") / "model", intermediate_size=256, num_hidden_layers=1, hidden_size=128)


@pytest.fixture
def made(plain, tmp_path):
    """made(kind) -> a fresh checkpoint of that kind."""

    def make(kind):
        package, maker = MAKERS[kind]
        if package:
            pytest.importorskip(package)
        maker(plain, tmp_path / "model")
        return tmp_path / "model"

    return make


def with_metadata(change):
    """An edit of the one file: `change` of its tensors, which keeps what the header says beside them."""

    def edit(folder):
        from safetensors import safe_open

        with safe_open(folder / "model.safetensors", "pt") as file:
            kept = file.metadata()
        tensors = change(load_file(folder / "model.safetensors"))
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "model.safetensors", metadata=kept)

    return edit


def changed(part, change):
    return with_metadata(lambda tensors: tensors | {f"{LAYER}.{part}": change(tensors[f"{LAYER}.{part}"])})


def without(part):
    return with_metadata(lambda tensors: {name: tensor for name, tensor in tensors.items() if name != f"{LAYER}.{part}"})


def first(value):
    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


def options(**fields):
    """An edit of quantization_config."""

    def edit(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        set_fields(quantization_config=config["quantization_config"] | fields)(folder)

    return edit


def group_0(**fields):
    def edit(folder):
        groups = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]["config_groups"]
        groups["group_0"]["weights"] |= fields
        options(config_groups=groups)(folder)

    return edit


NAN = float("nan")
LIES = [
    ("gptq", options(quant_method="exl3"), 'config.json: quantization_config.quant_method is "exl3", and only awq, gptq'),
    ("gptq", options(bits=5), "quantization_config.bits is 5, and only 2, 3, 4, 8"), ("gptq", options(bits=8), "down_proj.scales' has shape (8, 128), expected (4, 128)"),
    ("gptq", options(bits="4"), 'quantization_config.bits is "4", not a whole number'), ("gptq", options(bits=True), "bits is true, not a whole"),
    ("gptq", options(group_size=48), "down_proj.scales' has shape (8, 128), expected (6, 128)"), ("gptq", options(group_size=0), "group_size is 0, not a size"),
    ("gptq", options(checkpoint_format="marlin"), 'checkpoint_format is "marlin", and only gptq, gptq_v2'),
    ("awq", options(version=None, format="gemv_fast"), 'format is "gemv_fast", and only gemm'), ("fp8", options(scale_fmt="half"), 'scale_fmt is "half"'),
    ("gptq", options(dynamic={"+:.*down.*": {"bits": 8}}), "dynamic is"), ("gptq", set_fields(quantization_config=[4]), "quantization_config is [4], not an object"),
    ("gptq", changed("g_idx", first(4)), f"'{LAYER}.g_idx' names a group that is not one of the 4"), ("gptq", changed("g_idx", first(-1)), "names a group"),
    ("gptq", changed("g_idx", lambda x: x[1:]), f"'{LAYER}.g_idx' has shape (127,), expected (128,)"),
    ("gptq", changed("scales", first(NAN)), f"model.safetensors: tensor '{LAYER}.scales' holds NaN"), ("gptq", without("scales"), f"'{LAYER}.scales' is missing"),
    ("gptq", without("qweight"), f"'{LAYER}.qweight' is missing"), ("gptq", without("qzeros"), f"'{LAYER}.qzeros' is missing"),
    ("gptq", changed("qweight", lambda x: x.long()), "is of int64, not int32"), ("gptq", changed("qweight", lambda x: x[:, :64]), "has shape (4, 128), expected (4, 64)"),
    ("gptq", set_fields(num_key_value_heads=1), "k_proj.g_idx' belongs to a weight of shape (64, 128), and config.json says (32, 128)"),
    ("gptq", set_fields(quantization_config=...), "the program reads this folder as it is"),
    ("awq", options(version="gemv"), 'version is "gemv", and only gemm'), ("awq", options(zero_point=False), "zero_point is false"), ("awq", options(bits=3), "bits is 3"),
    ("awq", options(group_size=96), "has 256 inputs, which is no multiple of the group size 96"), ("awq", changed("scales", first(float("inf"))), "holds NaN or infinity"),
    ("packed", options(format="marlin-24"), 'format is "marlin-24"'), ("packed", options(transform_config={"a": 1}), "rotations run with the model"),
    ("packed", options(sparsity_config={"format": "sparse-24-bitmask"}), "sparsity_config.format is"), ("packed", group_0(num_bits=9), "weights.num_bits is 9"),
    ("packed", group_0(group_size=48), "down_proj.weight_packed' has 256 inputs, which is no multiple of the group size 48"),
    ("packed", group_0(num_bits=8), "which is not that of 8-bit codes"), ("packed", group_0(strategy="head"), 'weights.strategy is "head"'),
    ("packed", options(config_groups={"a": 4}), "config_groups.a is 4, not an object"),
    ("packed", options(config_groups={"a": {"targets": ["re:(a+)+$"], "weights": None}}), "repeats too much"),
    ("packed", options(config_groups={"a": {"targets": ["re:("], "weights": None}}), "is no regular expression"),
    ("packed", options(config_groups={"a": {"targets": ["Linear"], "weights": None}}), f"config_groups has no weights for {LAYER.replace('self_attn.q', 'mlp.down')}"),
    ("packed", changed("weight_shape", first(2**40)), "which is not that of 4-bit codes"), ("packed", changed("weight_shape", first(-1)), "which is not that"),
    ("packed", changed("weight_scale", lambda x: x[:, :1]), "expected (128, 4): one for 1 x 32 of 128 x 128 weights"),
    ("packed", without("weight_zero_point"), f"'{LAYER}.weight_zero_point' is missing"), ("packed", changed("weight_zero_point", lambda x: x[:-1]), "4-bit zeros of 128 rows"),
    ("act-order", changed("weight_g_idx", first(9)), "names a group that is not one of the 4"),
    ("nvfp4", changed("weight_global_scale", first(0)), "is [0.0], not one number above 0"), ("nvfp4", changed("weight_packed", lambda x: x[:, :60]), "120 inputs, which is no"),
    ("block", changed("weight_scale", lambda x: x.T), "has shape (2, 4), expected (4, 2)"), ("block", group_0(type="int"), "quantization_config says int"),
    ("block", group_0(block_structure=[32]), "not the rows and columns of a block"), ("fp8", options(weight_block_size=[0, 128]), "not the rows and columns"),
    ("fp8", options(activation_scheme="sometimes"), "activation_scheme is"), ("fp8", without("weight_scale"), f"'{LAYER}.weight' is of float8_e4m3fn, and fp8 has no scale"),
    ("fp8", changed("weight", first(NAN)), f"the weight of layer '{LAYER}' holds NaN"), ("fp8", changed("weight", lambda x: x[:0]), "is empty"),
    ("modelopt", options(quant_algo="W4A8_AWQ"), 'quant_algo is "W4A8_AWQ", and only FP8, NVFP4'), ("modelopt", without("weight_scale_2"), "weight_scale_2' is missing"),
    ("nf4", options(load_in_4bit=False), "load_in_4bit is false"), ("nf4", without("weight.quant_state.bitsandbytes__nf4"), "bitsandbytes__nf4' is missing"),
    ("nf4", changed("weight.quant_state.bitsandbytes__nf4", lambda x: x[1:]), "is no state of bitsandbytes"), ("nf4", without("weight.absmax"), "weight.absmax' is missing"),
    ("nf4", changed("weight", lambda x: x[1:]), "has 8191 bytes, and 128 x 128 codes"), ("nf4", changed("weight.nested_absmax", first(NAN)), "holds NaN"),
    ("int8", changed("SCB", lambda x: x[1:]), "SCB' has shape (127,), expected (128,)"), ("int8", changed("weight_format", first(1)), "is not 0 (rows)"),
    ("hqq", changed("packing", first(55)), "which does not go with its nbits"), ("hqq", changed("axis", first(2)), "groups of 32 along axis 2"),
    ("hqq", changed("shape", first(2**30)), "W_q' has shape"), ("hqq", changed("group_size", first(-4)), "do not divide"), ("hqq", changed("nbits", lambda x: x.repeat(2)), "one number"),
    ("torchao", change_tensors(lambda tensors: tensors), "is missing; fetch it again"), ("torchao", changed("_weight_scale", lambda x: x[1:]), "has shape (127, 1)"),
]


def refused(folder):
    """The message with which an import of the folder is refused, beside which nothing is left."""
    out = folder.with_name("out")
    with pytest.raises((BadInput, OSError)) as caught:
        SCRIPT.import_checkpoint(folder, out, None)
    message = str(caught.value)
    assert not out.exists() and not litter(folder.parent)
    assert "\n" not in message and printable(message).isprintable() and len(message) < 600, message
    return message


@pytest.mark.parametrize(("kind", "lie", "said"), LIES)
def test_a_lie_is_one_line_that_names_it(made, kind, lie, said):
    folder = made(kind)
    lie(folder)
    assert said in refused(folder)


BENT = {"shorter": lambda x: x[:-1] if x.dim() else x.reshape(1), "transposed": lambda x: x.T if x.dim() == 2 else x[None], "empty": lambda x: x.flatten()[:0],
        "twice": lambda x: torch.cat([x[None], x[None]]).flatten(0, 1) if x.dim() else x.repeat(2), "bytes": lambda x: x.flatten().view(torch.uint8),
        "double": lambda x: x.double(), "int64": lambda x: x.float().nan_to_num().long(), "flags": lambda x: torch.zeros(x.shape, dtype=torch.bool),
        "all ones": lambda x: torch.full(x.shape, 255, dtype=torch.uint8).view(x.dtype) if x.element_size() == 1 else (~torch.zeros_like(x, dtype=torch.int32)).view(x.dtype)
        if x.element_size() == 4 else x * NAN}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_tensor_that_is_bent_or_gone_is_one_line_or_harmless(made, plain, kind):
    """Harmless: the weights have their shapes and are finite, as with a code that is another code."""
    folder = made(kind)
    content, wanted = (folder / "model.safetensors").read_bytes(), {name: tensor.shape for name, tensor in load_file(plain / "model.safetensors").items()}
    parts = [name.removeprefix(f"{LAYER}.") for name in load_file(folder / "model.safetensors") if name.startswith(f"{LAYER}.")]
    count = 0
    for part in parts:
        for lie in [without(part), *(changed(part, bend) for bend in BENT.values())]:
            (folder / "model.safetensors").write_bytes(content)
            lie(folder)
            out = folder.with_name(f"out{count}")
            try:
                SCRIPT.import_checkpoint(folder, out, None)
            except BadInput as error:
                assert not out.exists() and printable(str(error)).isprintable(), part
                count += 1
                continue
            found = load_file(out / "model.safetensors")
            assert {name: tensor.shape for name, tensor in found.items()} == wanted, part
            assert all(tensor.isfinite().all() for tensor in found.values()), part
            count += 1
    assert not litter(folder.parent)


# ---- other containers


def unpickled(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    return tensors


def bin_of(legacy=False, change=lambda tensors: tensors):
    def edit(folder):
        torch.save(change(unpickled(folder)), folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)

    return edit


def in_shards(folder):
    tensors = unpickled(folder)
    where = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(tensors)}
    for file in set(where.values()):
        torch.save({name: tensors[name] for name in where if where[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}), encoding="utf-8")


@pytest.fixture
def copied(plain, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes((plain / name).read_bytes())
    return tmp_path / "model"


@pytest.mark.parametrize("edit", [bin_of(), bin_of(legacy=True), in_shards])
def test_pickled_tensors_keep_their_bits(copied, plain, edit):
    edit(copied)
    assert SCRIPT.import_checkpoint(copied, copied.with_name("out"), None) == []
    found, expected = load_file(copied.with_name("out") / "model.safetensors"), load_file(plain / "model.safetensors")
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert (copied.with_name("out") / "generation_config.json").exists()
    assert json.loads((copied.with_name("out") / "imported.json").read_text())["label"] == "plain"


def test_a_tied_head_is_not_stored_twice(copied):
    def tied(tensors):
        return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}

    in_order(bin_of(change=tied), set_fields(tie_word_embeddings=True))(copied)
    SCRIPT.import_checkpoint(copied, copied.with_name("out"), None)
    assert "lm_head.weight" not in load_file(copied.with_name("out") / "model.safetensors")


class Executed:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(("edit", "said"), [
    (bin_of(change=lambda tensors: tensors | {"a": Executed()}), "pytorch_model.bin: holds more than plain tensors"),
    (bin_of(change=lambda tensors: list(tensors.values())), "is no dictionary of tensors by name"),
    (bin_of(change=lambda tensors: tensors | {"epoch": 3}), "is no dictionary of tensors by name"),
    (bin_of(change=lambda tensors: tensors | {"a": torch.ones(2, dtype=torch.int8)}), "tensor 'a' is of int8, and nothing in config.json says"),
    (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "holds more than plain tensors, or is damaged"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64), "model.safetensors: no readable safetensors file"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has none of model.safetensors"),
    (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "config.json: cannot be read as JSON"),
    (lambda folder: (folder / "config.json").write_text("[" * 100000, encoding="utf-8"), "config.json: cannot be read as JSON"),
    (lambda folder: (folder / "config.json").write_text("[]", encoding="utf-8"), "config.json: is [], not an object"),
    (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    (in_order(in_shards, lambda folder: (folder / "pytorch_model-00001-of-00002.bin").unlink()), "which is no file of the folder"),
    (in_order(in_shards, lambda folder: (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../../x"}}')), "which is no file of the folder"),
    (in_order(in_shards, lambda folder: (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": 3}')), '"weight_map" is 3'),
    (in_order(in_shards, lambda folder: torch.save({}, folder / "pytorch_model-00001-of-00002.bin")), "is not in pytorch_model-00001-of-00002.bin"),
])
def test_what_is_no_checkpoint_is_one_line(copied, capsys, edit, said):
    edit(copied)
    assert said in refused(copied)
    assert capsys.readouterr().out == ""


def test_the_script_itself_says_one_line_and_imports_nothing_twice(run_script, made, tmp_path):
    folder = made("gptq")
    assert_one_line(run_script("import_checkpoint", tmp_path / "none", tmp_path / "out"), "import_checkpoint: ", "is no folder")
    process = run_script("import_checkpoint", folder, tmp_path / "out", "--dtype", "bfloat16")
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{tmp_path}/out\n", "")
    SCRIPT.import_checkpoint(folder, tmp_path / "exact", None)
    found, exact = load_file(tmp_path / "out/model.safetensors"), load_file(tmp_path / "exact/model.safetensors")
    assert all(torch.equal(found[name], exact[name].bfloat16()) for name in exact)
    config = json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config and config["dtype"] == "bfloat16"
    assert_one_line(run_script("import_checkpoint", folder, tmp_path / "out"), "exists already; remove it to import again")


def test_a_weight_that_float16_does_not_hold_is_named(made):
    folder = made("fp8")
    changed("weight_scale", first(1e6))(folder)
    with pytest.raises(BadInput, match=f"the weight of layer '{LAYER}' holds NaN or infinity, or what is infinity in float16"):
        SCRIPT.import_checkpoint(folder, folder.with_name("out"), "float16")


def test_large_models_are_written_in_shards(made, monkeypatch, tmp_path):
    folder = made("gptq")
    SCRIPT.import_checkpoint(folder, tmp_path / "one", None)
    monkeypatch.setattr("importing.target.MOST_SHARD", 1 << 18)
    SCRIPT.import_checkpoint(folder, tmp_path / "many", None)
    where = json.loads((tmp_path / "many/model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    files = sorted(path.name for path in (tmp_path / "many").glob("*.safetensors"))
    assert len(files) > 2 and files == sorted(set(where.values())) and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    one = load_file(tmp_path / "one/model.safetensors")
    assert one.keys() == where.keys() and all(torch.equal(load_file(tmp_path / "many" / where[name])[name], one[name]) for name in one)


SLOW = "import sys, time, pathlib; sys.path.insert(0, sys.argv[1])\nimport importing.target as t\nadd = t.Shards.add\n" \
       "def slow(*a):\n    add(*a); print(flush=True); time.sleep(60)\nt.Shards.add = slow\nsys.argv[:] = sys.argv[2:]; exec(compile(open(sys.argv[0]).read(), 'x', 'exec'))"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_stopped_leaves_nothing_and_can_run_again(made, tmp_path, run_script, number):
    folder = made("gptq")
    command = [sys.executable, "-c", SLOW, REPO / "scripts", REPO / "scripts/import_checkpoint", folder, tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        assert litter(tmp_path)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0 and sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert run_script("import_checkpoint", folder, tmp_path / "out").returncode == 0


# ---- what lies beside the weights


def test_layers_that_are_kept_are_said_and_rules_leave_them_out(plain, tmp_path):
    two = save_llama(tmp_path / "two", intermediate_size=256, num_hidden_layers=3, hidden_size=128)
    fp8()(two, tmp_path / "model")
    original = load_file(two / "model.safetensors")
    kept = ["model.layers.1.mlp.down_proj", "model.layers.2.mlp.down_proj", *(f"model.layers.{layer}.self_attn.k_proj" for layer in range(3))]
    change_tensors(lambda tensors: {name: tensor for name, tensor in tensors.items() if name.removesuffix(".weight_scale") not in kept}
                   | {f"{name}.weight": original[f"{name}.weight"] for name in kept})(tmp_path / "model")
    lines = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    record = json.loads((tmp_path / "out/imported.json").read_text(encoding="utf-8"))
    assert record["kept"] == ["layers.{1,2}.mlp.down_proj", "layers.*.self_attn.k_proj", "lm_head"] and record["quantized"] == 21 - 5
    assert lines == ["quant:", *(f'  - {{match: "layers.{match}", input: {{type: fp8, group: 0}}}}' for match in (
        "0.mlp.down_proj", "*.mlp.gate_proj", "*.mlp.up_proj", "*.self_attn.o_proj", "*.self_attn.q_proj", "*.self_attn.v_proj"))]


def test_scales_of_a_cache_and_empty_biases_are_left_out(made, tmp_path):
    folder = made("gptq")
    more = {f"{LAYER}.bias": torch.zeros(128), "model.layers.0.self_attn.k_scale": torch.ones(1)}
    change_tensors(lambda tensors: tensors | more)(folder)
    SCRIPT.import_checkpoint(folder, tmp_path / "out", None)
    assert not more.keys() & load_file(tmp_path / "out/model.safetensors").keys()
    change_tensors(lambda tensors: tensors | {f"{LAYER}.bias": torch.ones(128)})(folder)
    SCRIPT.import_checkpoint(folder, tmp_path / "with", None)
    assert f"{LAYER}.bias" in load_file(tmp_path / "with/model.safetensors")


def test_modelopt_may_say_what_it_did_in_a_file_of_its_own(plain, tmp_path):
    fp8("modelopt", quant_algo="FP8")(plain, tmp_path / "model")
    set_fields(quantization_config=...)(tmp_path / "model")
    (tmp_path / "model/hf_quant_config.json").write_text(json.dumps({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}))
    lines = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    assert lines[0] == "# the checkpoint's key/value cache is quantized when it runs; give `kv:` for that"
    assert lines[-1] == '  - {match: "layers.*", input: {type: fp8, group: -1, static: true}}'


def test_older_gptq_says_what_it_did_in_a_file_of_its_own(made, tmp_path):
    folder = made("gptq")
    SCRIPT.import_checkpoint(folder, tmp_path / "out", None)
    set_fields(quantization_config=...)(folder)
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 32, "damp_percent": 0.01, "desc_act": False, "sym": False}), encoding="utf-8")
    SCRIPT.import_checkpoint(folder, tmp_path / "own", None)
    assert (tmp_path / "own/model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()
