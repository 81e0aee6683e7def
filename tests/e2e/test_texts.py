"""Texts that would give a number of something else: other encodings, halves of characters, ids that occur twice; and vocabularies."""
import json

import pytest

from support.program import copy_of_tiny_books, read_rows, tiny_books_tokenizer_hash, write_token_file

STORY = "The kiln stood where the road turned. Élan, naïveté and 7 € later, a cart came up the road with two men. " * 3
SMALL = {"sweep": None, "windows": {"length": 32, "truncate": True}}


@pytest.mark.parametrize(("encoding", "parts"), [
    ("utf-16", [":1: the byte 0xff at offset 0 is no UTF-8 text", "iconv -f utf-16 -t utf-8"]),
    ("utf-16-le", [":1: the byte 0x00 at offset 1 is no UTF-8 text", "iconv -f utf-16le -t utf-8"]),
    ("utf-32", [":1: the byte 0xff at offset 0 is no UTF-8 text", "iconv -f utf-32 -t utf-8"]),
    ("cp1252", [":1: the byte 0xc9 at offset 38 is no UTF-8 text", "iconv -f latin1 -t utf-8"])])
def test_another_encoding_is_refused_with_the_byte_and_the_command(refused, experiment, tmp_path, encoding, parts):
    for name in ("text.txt", "text.jsonl"):
        text = STORY if name.endswith("txt") else json.dumps({"text": STORY}, ensure_ascii=False)
        (tmp_path / name).write_bytes(text.encode(encoding))
        shown = parts if name.endswith("txt") else [part.replace("offset 38", "offset 48") for part in parts]
        refused(experiment(SMALL | {"data.path": str(tmp_path / name)}), f"{tmp_path}/{name}", *shown)


@pytest.mark.parametrize(("bad", "byte"), [(b"\xed\xa0\xbd\xed\xb8\x80", "0xed"), (b"\xc0\xaf", "0xc0"), (b"\xe2\x82", "0xe2"), (b"\xf8\x88\x80\x80\x80", "0xf8")])
def test_bytes_that_are_no_character_are_named_with_their_line(refused, experiment, tmp_path, bad, byte):
    (tmp_path / "text.txt").write_bytes(b"Fine.\nStill fine.\nHere " + bad + b" it is.\n")
    refused(experiment(SMALL | {"data.path": str(tmp_path / "text.txt")}), f"{tmp_path}/text.txt:3: the byte {byte} at offset 23")


def test_a_byte_order_mark_changes_no_number_and_is_told_of(run, experiment, tmp_path):
    rows = []
    for i, mark in enumerate((b"", b"\xef\xbb\xbf")):
        (tmp_path / "text.txt").write_bytes(mark + STORY.encode())
        process = run("run", experiment(SMALL | {"data.path": str(tmp_path / "text.txt"), "metrics": ["perplexity", "bits_per_byte"], "windows": {"length": 32}}),
                      "--results", tmp_path / f"results{i}")
        assert process.returncode == 0, process.stderr
        assert ("text.txt: the byte order mark in front is left out" in process.stderr) == (i == 1)
        rows.append(next(iter(read_rows(tmp_path / f"results{i}").values()))["metrics"])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("task", "key"), [({"type": "passkey", "lengths": [128]}, "filler"),
                                           ({"type": "multiple_choice", "path": "QUESTIONS", "pad": {"tokens": 64}}, "pad.path")])
def test_texts_of_tasks_are_looked_at_in_the_same_way(refused, experiment, tmp_path, task, key):
    (tmp_path / "filler.txt").write_bytes(STORY.encode("utf-16"))
    (tmp_path / "questions.jsonl").write_text('{"query": "A cart", "choices": [" came", " went"], "label": 0}\n', encoding="utf-8")
    if key == "filler":
        task = task | {"filler": str(tmp_path / "filler.txt")}
    else:
        task = task | {"path": str(tmp_path / "questions.jsonl"), "pad": {"path": str(tmp_path / "filler.txt"), "tokens": 64}}
    refused(experiment({"data": None, "sweep": None, "windows": {"length": 256}, "tasks": [task]}),
            f"{tmp_path}/filler.txt:1: the byte 0xff at offset 0 is no UTF-8 text; convert it: iconv -f utf-16 -t utf-8")


@pytest.mark.parametrize(("line", "parts"), [
    (r'{"id": "b", "text": "half \ud800 of a pair"}', [":2:", "alone is half of a surrogate pair and no character"]),
    (r'{"id": "b", "text": "half \udc00 of a pair"}', [":2:", "alone is half of a surrogate pair and no character"]),
    ('{"id": "b", "text": "x", "loss": 1e999}', [":2:", "the number 1e999 is beyond what double holds"]),
    ('{"id": "b", "text": "x", "words": 12.0}', [':2: "words" is 12.0, not a number of them']),
    ('{"id": "b", "text": "x", "bytes": 99999999999999999999}', [':2: "bytes" is 1e+20, not a number of them']),
    ('{"id": "b", "text": "x", "bytes": 9223372036854775808}', [':2: "bytes" is 9223372036854775808, not a number of them']),
    ('{"id": "b", "text": "x", "text": "y"}', [":2:", 'the key "text" stands twice']),
    ('{"id": "a", "text": "x"}', [":2: the id 'a' is that of line 1, too"])])
def test_a_line_that_says_something_odd_is_refused(refused, experiment, tmp_path, line, parts):
    (tmp_path / "text.jsonl").write_text('{"id": "a", "text": "A cart came up the road."}\n' + line + "\n", encoding="utf-8")
    refused(experiment(SMALL | {"data.path": str(tmp_path / "text.jsonl")}), f"{tmp_path}/text.jsonl{parts[0]}", *parts[1:])


def test_a_token_file_with_one_id_twice_or_a_wrong_hash_is_refused(refused, experiment, tmp_path):
    file = tmp_path / "data.tok"
    write_token_file(file, tiny_books_tokenizer_hash(), {"a": range(100), "b": range(100)})
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"b"', b'"a"'))
    refused(experiment(SMALL | {"data.path": str(file)}), f"{file}: documents 1 and 2 have the same id 'a'")
    size = int.from_bytes(content[12:16], "little")
    header = content[16:16 + size].replace(b"{", b'{"hash": "' + b"5" * 32 + b'", ', 1)
    file.write_bytes(content[:12] + len(header).to_bytes(4, "little") + header + content[16 + size:])
    refused(experiment(SMALL | {"data.path": str(file)}), f"{file}: its contents have the hash ", "its header says 5555", "scripts/tokenize")


@pytest.mark.parametrize("rows", [4096 + 257, 8192])
def test_padded_embeddings_are_a_warning_once_and_change_little(run, experiment, tmp_path, rows):
    import torch
    from safetensors.torch import load_file, save_file

    model = copy_of_tiny_books(tmp_path / "model", vocab_size=rows)
    tensors = load_file(model / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:  # rows of zeros: each adds e^0 to the softmax' sum
            tensors[name] = torch.cat([tensors[name], torch.zeros(rows - len(tensors[name]), tensors[name].shape[1], dtype=tensors[name].dtype)])
    save_file(tensors, model / "model.safetensors")
    file = experiment({"model.path": str(model), "windows": {"length": 64, "truncate": True}})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert len(read_rows(tmp_path / "results")) > 1
    assert process.stderr.count(f"the tokenizer's vocabulary has 4096 entries, the model's {rows}: the {rows - 4096} beyond are taken for padding") == 1


def test_a_broken_tokenizer_json_beside_tokenizer_model_is_one_line_and_tokens_that_nothing_reads_are_a_warning(run, experiment, refused, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    file = experiment({"model.path": str(model)})
    (model / "tokenizer.json").write_text('{"added_tokens": [', encoding="utf-8")
    refused(file, f"{model}/tokenizer.json:1")
    (model / "tokenizer.json").unlink()
    (model / "added_tokens.json").write_text('{"<s>": 1, "[NAME]": 4096}', encoding="utf-8")
    process = run("check", file)
    assert process.returncode == 0, process.stderr
    assert process.stderr.count(f'{model}/added_tokens.json: is not read, and adds the token "[NAME]"') == 1


def test_tiktoken_s_tokenizer_model_gives_way_to_tokenizer_json(run, experiment, refused, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\nIw== 2\n")
    file = experiment(SMALL | {"model.path": str(model)})
    refused(file, f"{model}/tokenizer.model: is of tiktoken's format, which is not read here; copy the tokenizer.json of the model beside it")
    letters = {chr(c): c - 33 for c in range(33, 127)} | {"Ġ": 94, "Ċ": 95, "th": 96}
    fields = {"model": {"type": "BPE", "vocab": letters, "merges": [["t", "h"]]}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}}
    (model / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert process.stderr.count(f"{model}/tokenizer.model: is of tiktoken's format; {model}/tokenizer.json is read") == 1
    (model / "tokenizer.model").write_bytes(b"\x0a\xff\xff\xff\xff broken")  # SentencePiece's, but broken
    process = run("run", file, "--results", tmp_path / "other")
    assert process.returncode == 1 and f"{model}/tokenizer.model: not a SentencePiece model" in process.stderr
