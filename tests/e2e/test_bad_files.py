"""Bad models, tokenizers and texts: one clear line that names the file and what to do, exit code 1, and nothing half-written."""
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.program import TEXT, assert_one_line, copy_of_tiny_books, tiny_books_tokenizer_hash, write_token_file


# ---- the model

def test_a_missing_model_folder_is_named(refused, experiment):
    file = experiment({"model.path": "models/nowhere"})
    refused(file, f"{file}:2:9: model.path: ", "no such folder", "Hugging Face model folder")


@pytest.mark.parametrize(("path", "model"), [("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-hf"), ("models/lmsys/vicuna-7b-v1.5", "lmsys/vicuna-7b-v1.5"),
                                             ("gone", None), ("models/gone", None), ("../some/gone", None), ("/some/gone", None)])
def test_a_model_of_the_hub_that_is_not_there_names_the_command_that_gets_it(run, experiment, path, model):
    process = run("check", experiment({"model.path": path}))
    assert_one_line(process, "model.path: ", "no such folder")
    assert ("fetch_model" in process.stderr) == (model is not None)
    if model:
        assert f"run scripts/fetch_model {model}, which makes models/{model}" in process.stderr


@pytest.mark.parametrize("field", ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                                   "max_position_embeddings", "model_type"])
def test_a_config_without_a_field_is_named(refused, experiment, tmp_path, field):
    model = copy_of_tiny_books(tmp_path / "model", **{field: None})
    refused(experiment({"model.path": str(model)}), f"{model}/config.json: missing field '{field}'; expected")


def test_a_config_that_is_no_json_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "config.json").write_text('{"hidden_size": 256,\n "x" 1}', encoding="utf-8")
    refused(experiment({"model.path": str(model)}), f"{model}/config.json:2:", "broken JSON")


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
def test_a_wrong_tensor_is_named(refused, experiment, tmp_path, edit, parts):
    model = copy_of_tiny_books(tmp_path / "model")
    edit_tensors(model, edit)
    refused(experiment({"model.path": str(model)}), model, *parts)


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
    refused(experiment({"model.path": str(model)}), f"{model}: tensor model.embed_tokens.weight has shape [4096, 256], config.json asks for [2048, 256]")
    edit_tensors(model, lambda tensors: tensors.update({name: tensor[:2048] for name, tensor in tensors.items() if name == "model.embed_tokens.weight"}))
    refused(experiment({"model.path": str(model)}), f"{model}: the tokenizer's vocabulary has 4096 entries, the model's 2048")


def test_a_broken_tokenizer_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").write_bytes(b"\x0a\xff\xff\xff\xff broken")
    refused(experiment({"model.path": str(model)}), f"{model}/tokenizer.model: not a SentencePiece model")


def test_a_model_without_a_tokenizer_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").unlink()
    refused(experiment({"model.path": str(model)}), f"{model}: holds neither tokenizer.model nor tokenizer.json")


def test_tokens_of_another_tokenizer_are_named(refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", "0123456789abcdef" * 2, {"a": range(100)})
    refused(experiment({"data.path": str(tmp_path / "data.tok")}), f"{tmp_path}/data.tok: its tokens are of a tokenizer with hash 0123",
            f"has one with hash {tiny_books_tokenizer_hash()}", "scripts/tokenize")


def test_tokens_outside_the_vocabulary_are_named(refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", tiny_books_tokenizer_hash(), {"a": range(100), "b": [7, 4096]})
    refused(experiment({"data.path": str(tmp_path / "data.tok")}), f"{tmp_path}/data.tok: document 'b' has the token 4096")


def test_a_truncated_token_file_is_named(refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", tiny_books_tokenizer_hash(), {"a": range(100)})
    content = (tmp_path / "data.tok").read_bytes()
    (tmp_path / "data.tok").write_bytes(content[:-10])
    refused(experiment({"data.path": str(tmp_path / "data.tok")}), f"{tmp_path}/data.tok: ", "truncated?", "scripts/tokenize")


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
