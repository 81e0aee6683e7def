"""Bad input to the real program: one clear line that names the place and what to do, exit code 1, and nothing half-written."""
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
import yaml
from safetensors.torch import load_file, save_file

from support.program import TEXT, TINY_BOOKS, copy_of_tiny_books, litter, read_rows, write_token_file

SCHEMES = "dynamic_ntk, dynamic_yarn, linear, llama3, longrope, model, none, ntk, ntk_by_parts, yarn"


def assert_one_line(process, *parts):
    assert process.returncode == 1, (process.returncode, process.stderr)
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1 and process.stderr.endswith("\n"), process.stderr
    for part in parts:
        assert str(part) in process.stderr


@pytest.fixture
def refused(run, tmp_path):
    """refused(file, part...): running the experiment is refused with one line that holds the parts, before anything is written."""

    def run_refused(file, *parts, arguments=(), **options):
        process = run("run", file, "--results", tmp_path / "results", *arguments, **options)
        assert_one_line(process, *parts)
        assert not (tmp_path / "results").exists()

    return run_refused


@pytest.fixture
def failed(run, tmp_path):
    """failed(file, part...): every cell fails with the parts in its row, its log and on stderr; the row is whole."""

    def run_failed(file, *parts):
        process = run("run", file, "--results", tmp_path / "results")
        assert process.returncode == 1
        rows = read_rows(tmp_path / "results")
        assert rows and not litter(tmp_path)
        for cell, row in rows.items():
            assert row["status"] == "failed" and row["metrics"] == {}
            for part in parts:
                assert str(part) in row["error"]
            assert "\n" not in row["error"]
            assert row["error"] in process.stderr
            assert row["error"] in (tmp_path / "results/cells" / cell / "log.txt").read_text(encoding="utf-8")

    return run_failed


# ---- the experiment

YAML = f"""# An experiment with known lines and columns.
model: {{path: {TINY_BOOKS}, dtype: float32}}
data: {{path: {TEXT}}}
windows: {{length: 64, truncate: true}}
"""


@pytest.mark.parametrize(("text", "place", "parts"), [
    ("rope: {type: yarn, factor: auto\n", ":5:", ["not valid YAML"]),
    ("rope: {type: none}\nrope: {type: none}\n", ":6:1: rope: ", ["stands twice", ":5:1"]),
    ("windwos: {length: 4}\n", ":5:1: windwos: ", ["unknown key"]),
    ("rope: {type: yarn, fractor: 4}\n", ":5:7: rope.factor: ", ["missing", "is it meant by 'fractor'"]),
    ("rope: {type: yarn, factor: 4, beta_fats: 32}\n", ":5:31: rope.beta_fats: ", ["did you mean 'beta_fast'"]),
    ("rope: {type: yran, factor: 4}\n", ":5:14: rope.type: ", ["unknown 'yran'", "did you mean 'yarn'", SCHEMES]),
    ("rope: {type: yarn, factor: [4]}\n", ":5:28: rope.factor: ", ["expected auto or a number"]),
    ("seed: many\n", ":5:7: seed: ", ["expected an integer, found 'many'"]),
    ("rescale: {type: bands}\n", ":5:17: rescale.type: ", ["unknown 'bands'", "known: none"]),
    ("diagnostics: [outliers]\n", ":5:15: diagnostics[0]: ", ["unknown diagnostic"]),
    ("metrics: [perplexiti]\n", ":5:11: ", ["did you mean 'perplexity'"]),
    ("quant: [{match: 'layer.*', weight: {type: rtn}}]\n", ":5:17: quant[0].match: ", ["matches no layer", "layers.0.self_attn.q_proj"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, group: 96}}]\n", ":5:37: quant[0].weight: ",
     ["group 96 does not divide the 256 inputs of layers.0.self_attn.q_proj", "16, 32, 64, 128, 256"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, group: 128}}]\n", ":5:37: quant[0].weight: ",
     ["the 704 inputs of layers.0.mlp.down_proj", "16, 32, 64"]),
    ("quant: [{match: 'layers.*', weight: {type: rtn, bits: 9, group: 64}}]\n", ":5:55: quant[0].weight.bits: ", ["from 2 to 8, found 9"]),
    ("sweep: [{windows.length: 64}]\n", ":5:26: ", ["expected a list of values"]),
    ("sweep: [{windows.length: [64, 64]}]\n", ":5:31: ", ["the same value"]),
    ("rope: {type: longrope, factor: 2, factors: nowhere.json}\n", ":5:", ["nowhere.json: no such file"]),
    ("include: [../nowhere.yaml]\n", ":5:11: include[0]: ", ["no such file"]),
], ids=lambda value: value.strip()[:40] if isinstance(value, str) else "")
def test_a_wrong_configuration_is_named_with_its_place(refused, run, tmp_path, text, place, parts):
    file = tmp_path / "wrong.yaml"
    file.write_text(YAML + text, encoding="utf-8")
    refused(file, f"{file}{place}", *parts)
    process = run("check", file)
    assert process.returncode == 1 and f"{file}{place}" in process.stderr


def test_a_missing_experiment_is_one_line(refused, tmp_path):
    refused(tmp_path / "none.yaml", f"{tmp_path}/none.yaml: no such file")


def test_a_missing_key_is_named(refused, experiment):
    file = experiment({"windows.length": None, "sweep": None})
    refused(file, f"{file}:", "windows.length: missing")


@pytest.mark.parametrize(("override", "parts"), [
    ("windows.length", ["--set:1:1", "has no '='", "--set key=value"]),
    ("windows.length=long", ["--set:1:16: windows.length: expected an integer, found 'long'"]),
    ("windows.strid=64", ["--set:1:1: windows.strid: unknown key; did you mean 'stride'?"]),
    ("data.path.x=1", ["--set:1:1", "data.path.x"]),
    ("rope={type: yarn", ["--set:1:6: ", "is a bracket left open?"]),
])
def test_a_bad_set_is_named(refused, experiment, override, parts):
    refused(experiment({"sweep": None}), *parts, arguments=["--set", override])


@pytest.mark.parametrize("shard", ["3/2", "0/2", "1", "1/2/3", "a/b", "-1/2"])
def test_a_bad_shard_is_named(refused, experiment, shard):
    refused(experiment(), f"--shard {shard}: write K/N with 1 <= K <= N, such as 2/8", arguments=[f"--shard={shard}"])


def test_only_with_an_unknown_id_is_named(refused, experiment):
    refused(experiment(), "--only zzz: no cell of", arguments=["--only", "zzz"])


@pytest.mark.parametrize(("arguments", "part"), [
    (["show", ".", "--format", "html"], "html"), (["run"], "FILE"), (["fly"], "subcommand"), ([], "subcommand"),
    (["run", "a.yaml", "--dry"], "--dry"), (["list", "planets"], "unknown kind 'planets'; known: rope scheme, quantizer, metric"),
])
def test_a_wrong_command_line_is_one_line(run, arguments, part):
    assert_one_line(run(*arguments), part)


def test_show_of_a_folder_without_results_is_one_line(run, tmp_path):
    assert_one_line(run("show", tmp_path), f"{tmp_path}: no results here", "qroar run")


def test_show_with_an_unknown_baseline_is_one_line(run, experiment, tmp_path):
    assert run("run", experiment({"sweep": None}), "--results", tmp_path / "results").returncode == 0
    assert_one_line(run("show", tmp_path / "results", "--baseline", "zzz"), "--baseline zzz: 0 rows have an id that begins so")


def test_a_row_that_is_no_json_is_named(run, experiment, tmp_path):
    file = experiment({"sweep": None})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    (row,) = (tmp_path / "results").glob("cells/*/row.json")
    row.write_text('{"id": ', encoding="utf-8")
    for process in (run("show", tmp_path / "results"), run("run", file, "--results", tmp_path / "results")):
        assert_one_line(process, row, "delete the cell's folder and run again")


# ---- the model

def test_a_missing_model_folder_is_named(refused, experiment):
    file = experiment({"model.path": "models/nowhere"})
    refused(file, f"{file}:2:9: model.path: ", "no such folder", "Hugging Face model folder")


@pytest.mark.parametrize("field", ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                                   "max_position_embeddings", "model_type"])
def test_a_config_without_a_field_is_named(refused, experiment, tmp_path, field):
    model = copy_of_tiny_books(tmp_path / "model", **{field: None})
    refused(experiment({"model.path": str(model)}), f"{model}/config.json: missing field '{field}'; expected")


def test_a_config_that_is_no_json_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "config.json").write_text('{"hidden_size": 256,\n "x" 1}', encoding="utf-8")
    refused(experiment({"model.path": str(model)}), f"{model}/config.json: not valid JSON", "line 2")


def test_a_model_without_weights_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "model.safetensors").unlink()
    refused(experiment({"model.path": str(model)}), f"{model}: holds neither model.safetensors nor", "scripts/import_gguf.py")


@pytest.mark.parametrize("size", [0, 5, 100, 5_000_000, -1])
def test_truncated_weights_are_named(refused, experiment, tmp_path, size):
    model = copy_of_tiny_books(tmp_path / "model")
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:size])
    refused(experiment({"model.path": str(model)}), f"{model}/model.safetensors", "truncated download?")


def edit_header(file, edit):
    content = file.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    edit(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size:])


@pytest.mark.parametrize(("offsets", "part"), [
    ([0, 10 ** 15], "data_offsets [0, 1000000000000000] give 1000000000000000"),
    ([512, 0], "data_offsets [512, 0] run backwards"),
    ([-512, 0], "data_offsets holds -512"),
    ([2 ** 62, 2 ** 62 + 512], "a hole in the data"),
    ([1, 513], "in the data"),
])
def test_a_header_that_lies_about_offsets_is_named(refused, experiment, tmp_path, offsets, part):
    model = copy_of_tiny_books(tmp_path / "model")
    edit_header(model / "model.safetensors", lambda header: header["model.norm.weight"].update(data_offsets=offsets))
    refused(experiment({"model.path": str(model)}), f'{model}/model.safetensors: tensor "', part)


def test_a_header_that_claims_to_be_huge_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    with open(model / "model.safetensors", "r+b") as file:
        file.write(struct.pack("<Q", 2 ** 63))
    refused(experiment({"model.path": str(model)}), f"{model}/model.safetensors: header of 9223372036854775808 bytes")


def edit_tensors(model, edit):
    tensors = load_file(model / "model.safetensors")
    edit(tensors)
    save_file(tensors, model / "model.safetensors")


PROJECTION = "model.layers.2.mlp.up_proj.weight"


@pytest.mark.parametrize(("edit", "parts"), [
    (lambda tensors: tensors.update({PROJECTION: tensors[PROJECTION].to(torch.int8)}),
     [PROJECTION, "dtype I8", "expected BF16, F16, F32"]),
    (lambda tensors: tensors.update({PROJECTION: tensors[PROJECTION].T.contiguous()}),
     [PROJECTION, "shape [256, 704]", "config.json asks for [704, 256]"]),
    (lambda tensors: tensors.update({"model.layers.2.mlp.up_projection.weight": tensors.pop(PROJECTION)}),
     ["the checkpoint has no tensor", PROJECTION]),
], ids=["dtype", "shape", "missing"])
def test_a_wrong_tensor_is_named(failed, experiment, tmp_path, edit, parts):
    model = copy_of_tiny_books(tmp_path / "model")
    edit_tensors(model, edit)
    failed(experiment({"model.path": str(model)}), model, *parts)


def test_weights_that_are_not_finite_are_named_by_layer(failed, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")

    def poison(tensors):
        tensors[PROJECTION][3, 5] = float("nan")

    edit_tensors(model, poison)
    failed(experiment({"model.path": str(model)}), "document 'kiln'", "nan", "come out of layers.2.mlp ")


def test_a_cell_that_fails_when_run_again_keeps_nothing_of_the_run_that_did_not(run, failed, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    file = experiment({"model.path": str(model), "sweep": None})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    edit_tensors(model, lambda tensors: tensors[PROJECTION].fill_(float("inf")))
    failed(file, "layers.2.mlp")
    assert not list((tmp_path / "results").glob("cells/*/windows.csv"))


# ---- the tokenizer and the data

def shared_file(path):
    if "QROAR_DATA" not in os.environ:
        pytest.skip("QROAR_DATA does not name the data folder")
    return Path(os.environ["QROAR_DATA"]) / path


def test_a_tokenizer_of_another_vocabulary_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").write_bytes(shared_file("tokenizers/llama2-tokenizer.model").read_bytes())
    refused(experiment({"model.path": str(model)}), f"{model}: the tokenizer's vocabulary has 32000 entries, the model's 4096",
            "use the tokenizer that came with the model")


def test_a_model_of_another_vocabulary_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model", vocab_size=2048)
    refused(experiment({"model.path": str(model)}), f"{model}: the tokenizer's vocabulary has 4096 entries, the model's 2048")


def test_a_broken_tokenizer_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").write_bytes(b"\x0a\xff\xff\xff\xff broken")
    refused(experiment({"model.path": str(model)}), f"{model}/tokenizer.model: not a SentencePiece model")


def test_a_model_without_a_tokenizer_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").unlink()
    refused(experiment({"model.path": str(model)}), f"{model}: holds neither tokenizer.model nor tokenizer.json")


def own_hash():
    return xxhash.xxh3_128_hexdigest((TINY_BOOKS / "tokenizer.model").read_bytes())


def test_tokens_of_another_tokenizer_are_named(refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", "0123456789abcdef" * 2, {"a": range(100)})
    refused(experiment({"data.path": str(tmp_path / "data.tok")}), f"{tmp_path}/data.tok: its tokens are of a tokenizer with hash 0123",
            f"has one with hash {own_hash()}", "scripts/tokenize.py")


def test_tokens_outside_the_vocabulary_are_named(refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", own_hash(), {"a": range(100), "b": [7, 4096]})
    refused(experiment({"data.path": str(tmp_path / "data.tok")}), f"{tmp_path}/data.tok: document 'b' has the token 4096")


def test_a_truncated_token_file_is_named(refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", own_hash(), {"a": range(100)})
    content = (tmp_path / "data.tok").read_bytes()
    (tmp_path / "data.tok").write_bytes(content[:-10])
    refused(experiment({"data.path": str(tmp_path / "data.tok")}), f"{tmp_path}/data.tok: ", "truncated?", "scripts/tokenize.py")


def test_missing_data_is_named_with_the_place_that_asks_for_it(refused, run, experiment):
    file = experiment({"data.path": "data/nowhere.jsonl"})
    refused(file, f"{file}:6:9: data.path: ", "data/nowhere.jsonl: no such file")
    assert_one_line(run("check", file), f"{file}:6:9: data.path: ")


@pytest.mark.parametrize(("text", "parts"), [
    ('{"id": "full", "text": "Some words."}\n{"id": "hollow", "text": ""}\n', ["document 'hollow' is empty"]),
    ("", ["holds no documents"]),
    ('{"id": "a", "text": "Some words."}\n{"id": "b"}\n', [":2: no \"text\"", "one object with"]),
    ('{"id": "a", "text": "Some words."}\n{"id": "b", "text": 5}\n', [":2: \"text\" is a JSON number, not a string"]),
    ('{"id": "a", "text": "Some \n', [":1:", "broken JSON"]),
])
def test_a_bad_document_is_named(refused, experiment, tmp_path, text, parts):
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    refused(experiment({"data.path": str(tmp_path / "data.jsonl")}), f"{tmp_path}/data.jsonl", *parts)


def test_documents_that_are_all_too_short_are_named_with_the_longest(refused, experiment):
    refused(experiment({"data.min_tokens": 16384}), f"{TEXT}: all 2 documents are shorter than data.min_tokens 16384",
            "the longest, '", "lower it")


def test_more_documents_than_there_are_is_named(refused, experiment):
    refused(experiment({"data.documents": 2, "data.skip": 1}), f"{TEXT}: data.documents 2 after data.skip 1", "ask for fewer")


def test_compressed_data_is_named_with_the_command_that_unpacks_it(refused, experiment, tmp_path):
    (tmp_path / "data.jsonl.xz").write_bytes(b"\xfd7zXZ")
    refused(experiment({"data.path": str(tmp_path / "data.jsonl")}), f"unpack it with: xz -dk {tmp_path}/data.jsonl.xz")


# ---- the machine

def test_a_length_beyond_memory_fails_with_what_is_needed_and_what_is_there(failed, experiment, tmp_path):
    # 20 million tokens at 22 kB each in float64: 420 GiB.
    write_token_file(tmp_path / "long.tok", own_hash(), {"long": np.zeros(20_000_000, dtype="<i4")})
    failed(experiment({"data.path": str(tmp_path / "long.tok"), "windows.length": 20_000_000, "model.dtype": "float64", "sweep": None}),
           "a window of 20000000 tokens needs about", "GiB beside the weights and cpu has", "GiB free; take a smaller windows.length")


def test_an_unknown_device_is_named_with_its_place(refused, experiment):
    file = experiment({"model.device": "gpu"})
    refused(file, f"{file}:4:11: model.device: ", "auto, cpu, cuda or cuda:N")


def test_a_gpu_that_is_not_there_is_named(refused, experiment):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have a GPU")
    refused(experiment({"model.device": "cuda"}), "device cuda is not there", "write device: cpu or auto")


# ---- writing

def test_results_below_a_regular_file_are_refused(run, experiment, tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    assert_write_failed(run("run", experiment(), "--results", tmp_path / "file/results"), tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "not a folder"


def assert_write_failed(process, place):
    """A run that stopped at a failed write: what came before it in the log, then one line that names the place."""
    assert process.returncode == 1, process.stderr
    assert process.stdout == ""
    errors = [line for line in process.stderr.splitlines() if " info " not in line and not line[:2].isdigit()]
    assert len(errors) == 1 and str(place) in errors[0], process.stderr


@pytest.fixture
def mounted(tmp_path):
    """mounted(options) -> a fresh tmpfs."""
    folder = tmp_path / "mount"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True, check=False)


def test_a_read_only_results_folder_is_refused(run, experiment, mounted):
    folder = mounted("size=64k,ro")
    process = run("run", experiment(), "--results", folder / "results")
    assert_write_failed(process, folder)
    assert "Read-only file system" in process.stderr


@pytest.mark.parametrize("pages", [1, 2, 3, 4, 6])
def test_a_full_disk_stops_the_run_and_leaves_no_half_row(run, experiment, mounted, tmp_path, pages):
    # Each cell needs four files of one page each: the disk fills up at another write for each size.
    folder = mounted(f"size={4 * pages}k")
    file = experiment()
    process = run("run", file, "--results", folder)
    assert_write_failed(process, folder)
    assert "No space left on device" in process.stderr
    rows = read_rows(folder)  # whole, where there are any
    assert len(rows) < 4 and all(row["status"] == "ok" for row in rows.values())
    assert not litter(folder)
    subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
    assert run("run", file, "--results", folder).returncode == 0
    assert len(read_rows(folder)) == 4


@pytest.mark.parametrize("arguments", [["show", "RESULTS"], ["list"]])
def test_a_full_stdout_is_noticed(run, experiment, tmp_path, arguments):
    assert run("run", experiment({"sweep": None}), "--results", tmp_path / "results").returncode == 0
    with open("/dev/full", "w") as full:
        process = run(*[str(tmp_path / "results") if word == "RESULTS" else word for word in arguments], stdout=full)
    assert process.returncode == 1 and process.stderr == "cannot write to stdout: No space left on device\n"
