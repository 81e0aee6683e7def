"""scripts/import_checkpoint on other containers of weights, on what lies beside them, and when it is stopped."""
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from checkpoints import change_tensors, in_order, save_llama, set_fields
from import_edits import LAYER, changed, first, refused
from quantized import fp8
from support.program import REPO, assert_one_line, litter
from test_import_checkpoint import SCRIPT

from importing.plan import FAMILIES
from json_lines import BadInput

def unpickled(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    return tensors


def bin_of(legacy=False, change=lambda tensors: tensors):
    def edit(folder):
        torch.save(change(unpickled(folder)), folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)

    return edit


def pickled_as(folder, content):
    unpickled(folder)
    (folder / "pytorch_model.bin").write_bytes(content)


def in_shards(folder):
    tensors = unpickled(folder)
    where = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(tensors)}
    for file in set(where.values()):
        torch.save({name: tensors[name] for name in where if where[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}), encoding="utf-8")


def added_to_shard(name):
    """An edit of the first shard, of which the index knows nothing."""

    def edit(folder):
        file = folder / "pytorch_model-00001-of-00002.bin"
        torch.save(torch.load(file) | {name: torch.ones(128)}, file)

    return edit


@pytest.fixture
def copied(small_plain, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes((small_plain / name).read_bytes())
    return tmp_path / "model"


@pytest.mark.parametrize("edit", [bin_of(), bin_of(legacy=True), in_shards, in_order(bin_of(), set_fields(quantization_config=None))])
def test_pickled_tensors_keep_their_bits(copied, small_plain, edit):
    edit(copied)
    assert SCRIPT.import_checkpoint(copied, copied.with_name("out"), None) == []
    found, expected = load_file(copied.with_name("out") / "model.safetensors"), load_file(small_plain / "model.safetensors")
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert (copied.with_name("out") / "generation_config.json").exists()


def test_a_tied_head_is_not_stored_twice(copied):
    def tied(tensors):
        return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}

    in_order(bin_of(change=tied), set_fields(tie_word_embeddings=True))(copied)
    SCRIPT.import_checkpoint(copied, copied.with_name("out"), None)
    assert "lm_head.weight" not in load_file(copied.with_name("out") / "model.safetensors")


def test_what_old_files_carry_along_is_left_out(copied, small_plain):
    def listed(folder):
        path = folder / "pytorch_model.bin.index.json"
        content = path.read_text(encoding="utf-8")
        path.write_text(content.replace('"weight_map": {', '"weight_map": {"rotary_emb.cos_cached": "pytorch_model-00002-of-00002.bin", '), encoding="utf-8")

    mask = {"model.layers.0.self_attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool)}
    in_order(change_tensors(lambda tensors: tensors | mask), in_shards, added_to_shard("model.layers.0.self_attn.rotary_emb.inv_freq"), listed)(copied)
    SCRIPT.import_checkpoint(copied, copied.with_name("out"), None)
    assert load_file(copied.with_name("out") / "model.safetensors").keys() == load_file(small_plain / "model.safetensors").keys()


class Executed:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(("edit", "said"), [
    (bin_of(change=lambda tensors: tensors | {"a": Executed()}), "pytorch_model.bin: holds more than plain tensors"),
    (bin_of(change=lambda tensors: list(tensors.values())), "is no dictionary of tensors by name"),
    (bin_of(change=lambda tensors: tensors | {"epoch": 3}), "is no dictionary of tensors by name"),
    (bin_of(change=lambda tensors: tensors | {"a": torch.ones(2, dtype=torch.int8)}), "tensor 'a' is of int8, and nothing in config.json says"),
    (bin_of(change=lambda tensors: tensors | {"a": torch.eye(2).to_sparse()}), "pytorch_model.bin: tensor 'a' is sparse; save it dense"),
    (bin_of(change=lambda tensors: tensors | {"a": torch.ones(2, device="meta")}), "pytorch_model.bin: tensor 'a' is without values (meta); save it dense"),
    (bin_of(change=lambda tensors: tensors | {"a": torch.ones(1).expand(2**20, 2**20)}), f"tensor 'a' of {2**42} bytes holds 4, repeated"),
    (bin_of(change=lambda tensors: tensors | {"a\ud800": torch.ones(2)}), "is no dictionary of tensors by name"),
    (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "holds more than plain tensors, or is damaged"),
    (lambda folder: pickled_as(folder, b"\x80\x02."), "holds more than plain tensors, or is damaged, and is not loaded (IndexError)"),
    (lambda folder: pickled_as(folder, b"\x80\x02J\x01"), "holds more than plain tensors, or is damaged, and is not loaded (error)"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64), "model.safetensors: no readable safetensors file"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has none of model.safetensors"),
    (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "config.json: cannot be read as JSON"),
    (lambda folder: (folder / "config.json").write_text("[" * 100000, encoding="utf-8"), "config.json: cannot be read as JSON"),
    (lambda folder: (folder / "config.json").write_text("[]", encoding="utf-8"), "config.json: is [], not an object"),
    (lambda folder: (folder / "config.json").write_text('{"a": {"b": 1, "b": 2}}', encoding="utf-8"), 'as JSON (the key "b" stands twice)'),
    (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    (set_fields(_name_or_path=["a\ud800"]), 'config.json: "_name_or_path" holds half of a surrogate pair'),
    (in_order(in_shards, lambda folder: (folder / "pytorch_model-00001-of-00002.bin").unlink()), "which is no file of the folder"),
    (in_order(in_shards, lambda folder: (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../../x"}}')), "which is no file of the folder"),
    (in_order(in_shards, lambda folder: (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": 3}')), '"weight_map" is 3'),
    (in_order(in_shards, lambda folder: torch.save({}, folder / "pytorch_model-00001-of-00002.bin")), "is not in pytorch_model-00001-of-00002.bin"),
    (in_order(in_shards, added_to_shard(f"{LAYER}.bias")), f"tensor '{LAYER}.bias' is, too, in pytorch_model-00001-of-00002.bin"),
    (in_order(in_shards, added_to_shard("model.embed_tokens.weight")), "'model.embed_tokens.weight' is, too, in pytorch_model-00001-of-00002.bin"),
])
def test_what_is_no_checkpoint_is_one_line(copied, capsys, edit, said):
    edit(copied)
    assert said in refused(copied)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("edit", [bin_of(), lambda folder: None])
def test_a_folder_whose_name_is_no_utf_8_is_one_line(small_made, tmp_path, edit):
    folder = small_made("gptq")
    edit(folder)
    with pytest.raises(BadInput, match="out.* is no UTF-8; rename it"):
        SCRIPT.import_checkpoint(folder, tmp_path / "out\udcff", None)
    folder = folder.rename(tmp_path / "odd\udcff")
    assert "is no UTF-8; rename it" in refused(folder)
    (tmp_path / "link").symlink_to(folder)  # whose own name imported.json would hold
    assert "is no UTF-8; rename it" in refused(tmp_path / "link")


def test_the_script_itself_says_one_line_and_imports_nothing_twice(run_script, small_made, tmp_path):
    folder = small_made("gptq")
    assert_one_line(run_script("import_checkpoint", tmp_path / "none", tmp_path / "out"), "import_checkpoint: ", "is no folder")
    process = run_script("import_checkpoint", folder, tmp_path / "out", "--dtype", "bfloat16")
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{tmp_path}/out\n", "")
    SCRIPT.import_checkpoint(folder, tmp_path / "exact", None)
    found, exact = load_file(tmp_path / "out/model.safetensors"), load_file(tmp_path / "exact/model.safetensors")
    assert all(torch.equal(found[name], exact[name].bfloat16()) for name in exact)
    config = json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config and config["dtype"] == "bfloat16"
    assert_one_line(run_script("import_checkpoint", folder, tmp_path / "out"), "exists already; remove it to import again")


def test_a_weight_that_float16_does_not_hold_is_named(small_made):
    folder = small_made("fp8")
    changed("weight_scale", first(1e6))(folder)
    with pytest.raises(BadInput, match=f"the weight of layer '{LAYER}' holds NaN or infinity, or what is infinity in float16"):
        SCRIPT.import_checkpoint(folder, folder.with_name("out"), "float16")


def test_large_models_are_written_in_shards(small_made, monkeypatch, tmp_path):
    folder = small_made("gptq")
    SCRIPT.import_checkpoint(folder, tmp_path / "one", None)
    monkeypatch.setattr("importing.target.MOST_SHARD", 1 << 18)
    SCRIPT.import_checkpoint(folder, tmp_path / "many", None)
    where = json.loads((tmp_path / "many/model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    files = sorted(path.name for path in (tmp_path / "many").glob("*.safetensors"))
    assert len(files) > 2 and files == sorted(set(where.values())) and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    one = load_file(tmp_path / "one/model.safetensors")
    assert one.keys() == where.keys() and all(torch.equal(load_file(tmp_path / "many" / where[name])[name], one[name]) for name in one)


# Runs a script of the folder in its first argument, in which every tensor takes a minute.
SLOW = """
import runpy, sys, time
sys.path.insert(0, sys.argv[1])
import importing.target

add = importing.target.Shards.add
def slow(*arguments):
    add(*arguments)
    print(flush=True)
    time.sleep(60)
importing.target.Shards.add = slow
sys.argv[:] = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_stopped_leaves_nothing_and_can_run_again(small_made, tmp_path, run_script, number):
    folder = small_made("gptq")
    command = [sys.executable, "-c", SLOW, REPO / "scripts", REPO / "scripts/import_checkpoint", folder, tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        assert litter(tmp_path)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    said = "import_checkpoint: interrupted; nothing half-written is left, run it again\n"
    assert (process.returncode, stderr) == (128 + number, said) and sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert run_script("import_checkpoint", folder, tmp_path / "out").returncode == 0


def written_in_place(path, again):
    """A change in mid-file that a file of the same size shows by nothing but its times, which rsync --times --inplace sets back."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path, again):
    again.write_bytes(path.read_bytes())
    again.rename(path)


def appended(path, again):
    with open(path, "ab") as file:
        file.write(b"\n")


@pytest.mark.parametrize("change", [written_in_place, replaced, appended])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_checkpoint_that_changes_while_it_is_imported_is_one_line(small_made, monkeypatch, tmp_path, name, change):
    """Weights of before beside a hash of after, or a half of each, would be a checkpoint that nobody has published."""
    folder, write_config = small_made("gptq"), SCRIPT.write_config

    def change_and_write_config(*arguments):
        change(folder / name, tmp_path / "again")
        write_config(*arguments)

    monkeypatch.setattr(SCRIPT, "write_config", change_and_write_config)
    assert refused(folder) == f"{name}: changed while it was read; run again once nothing writes to it"


@pytest.mark.parametrize(("family", "spelled"), [("mixtral", '"mixtral"'), (..., "null"), (["llama"], '["llama"]')])
def test_a_family_that_the_program_does_not_have_is_refused_before_anything_is_written(small_made, monkeypatch, family, spelled):
    """The program itself would refuse the folder only once hours have made it."""
    folder = small_made("gptq")
    set_fields(model_type=family)(folder)
    monkeypatch.setattr(SCRIPT, "made_whole", None)
    assert f"config.json: model_type is {spelled}, and the program evaluates only granite, llama, " in refused(folder)


def test_the_families_are_those_of_the_program(run):
    listed = json.loads(run("list", "model family", "--format", "json").stdout)
    assert sorted(entry["name"] for entry in listed["model family"]) == sorted(FAMILIES)


# ---- what lies beside the weights


def test_layers_that_are_kept_are_said_and_rules_leave_them_out(small_plain, tmp_path):
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


def test_scales_of_a_cache_and_empty_biases_are_left_out(small_made, tmp_path):
    folder = small_made("gptq")
    more = {f"{LAYER}.bias": torch.zeros(128), "model.layers.0.self_attn.k_scale": torch.ones(1)}
    change_tensors(lambda tensors: tensors | more)(folder)
    SCRIPT.import_checkpoint(folder, tmp_path / "out", None)
    assert not more.keys() & load_file(tmp_path / "out/model.safetensors").keys()
    change_tensors(lambda tensors: tensors | {f"{LAYER}.bias": torch.ones(128)})(folder)
    SCRIPT.import_checkpoint(folder, tmp_path / "with", None)
    assert f"{LAYER}.bias" in load_file(tmp_path / "with/model.safetensors")


def test_modelopt_may_say_what_it_did_in_a_file_of_its_own(small_plain, tmp_path):
    fp8("modelopt", quant_algo="FP8")(small_plain, tmp_path / "model")
    set_fields(quantization_config=...)(tmp_path / "model")
    says = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    (tmp_path / "model/hf_quant_config.json").write_text(json.dumps(says), encoding="utf-8")
    lines = SCRIPT.import_checkpoint(tmp_path / "model", tmp_path / "out", None)
    assert lines[0] == "# the checkpoint's key/value cache is quantized when it runs; give `kv:` for that"
    assert lines[-1] == '  - {match: "layers.*", input: {type: fp8, group: -1, static: true}}'


def test_older_files_have_another_name_for_quantization_config(small_made, tmp_path):
    folder = small_made("packed")
    given = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    set_fields(quantization_config=..., compression_config=given)(folder)
    SCRIPT.import_checkpoint(folder, tmp_path / "out", None)
    assert not {"quantization_config", "compression_config"} & json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8")).keys()


def test_older_gptq_says_what_it_did_in_a_file_of_its_own(small_made, tmp_path):
    folder = small_made("gptq")
    SCRIPT.import_checkpoint(folder, tmp_path / "out", None)
    set_fields(quantization_config=...)(folder)
    says = {"bits": 4, "group_size": 32, "damp_percent": 0.01, "desc_act": False, "sym": False}
    (folder / "quantize_config.json").write_text(json.dumps(says), encoding="utf-8")
    SCRIPT.import_checkpoint(folder, tmp_path / "own", None)
    assert (tmp_path / "own/model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()
