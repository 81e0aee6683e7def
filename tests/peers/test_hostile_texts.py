"""The scripts that make data files, on files that lie or attack: one line, no escapes for a terminal, bounded memory and time."""
import gzip
import json
import lzma
import os
import subprocess
import sys
import time

import pytest

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
import prepare_bench  # noqa: E402
import prepare_data  # noqa: E402

QUESTION = {"id": "q", "query": "a", "choices": ["b", "c"], "label": 0}


def refused(run_script, name, *arguments):
    """Returns the one line that a script refuses with; nothing is written."""
    process = run_script(name, *arguments)
    assert process.returncode == 1 and process.stdout == "", process.stderr
    assert process.stderr.count("\n") == 1 and process.stderr.removesuffix("\n").isprintable(), process.stderr[-2000:]
    return process.stderr


@pytest.mark.parametrize(("line", "said"), [
    ('{"text": 1e999}', "is no finite number"), ('{"text": "a", "words": NaN}', "is no finite number"), ('{"text": "a", "id": {}}', '"id" is {}, not a text'),
    ('{"text": "a", "words": 2, "text": "b"}', 'the key "text" stands twice'),
    ('{"text": "a", "group": "b "}', "\"group\" is 'b '; name what"), ('{"text": "a", "group": "e\\u0301"}', "\"group\" is 'e\\u0301'; name what"),
    ('{"text": "a", "group": "\\u200bb"}', "\"group\" is '\\u200bb'; name what"), ('{"text": "a", "words": 1000000000001}', "not a number of them"),
    ('{"text": "a", "id": true}', '"id" is true, not a text'), ('{"text": "\\ud800"}', "half of a surrogate pair"), ("[" * 200_000, "cannot be read"),
    ('{"text": "a", "id": "\\u001b[2J"}\n{"text": "b", "id": "\\u001b[2J"}', "the id '\\x1b[2J' is that of"), ('{"text": "a", "words": ' + "9" * 5000 + "}", "digits")], ids=lambda word: word[:20])
def test_a_hostile_line_of_a_text_is_one_line_without_escapes(run_script, tmp_path, line, said):
    (tmp_path / "bad.jsonl").write_text(line + "\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}), encoding="utf-8")
    assert said in refused(run_script, "tokenize_texts.py", tmp_path, tmp_path / "bad.jsonl", tmp_path / "out.tok")
    assert not (tmp_path / "out.tok").exists()


@pytest.mark.parametrize("vocab", ["{}", '{"a": -1}', '{"a": 4294967296}', '{"a": 0.5}', '"a"', "[" * 100_000], ids=range(6))
def test_a_hostile_tokenizer_is_one_line(run_script, tmp_path, vocab):
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(f'{{"model": {{"type": "BPE", "vocab": {vocab}, "merges": []}}}}', encoding="utf-8")
    assert "tokenizer.json" in refused(run_script, "tokenize_texts.py", tmp_path, tmp_path / "text.jsonl", tmp_path / "out.tok")


def test_a_text_is_not_replaced_by_its_own_tokens(run_script, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "a"}\n', encoding="utf-8")
    assert "text.jsonl: is TEXT itself, which would be lost" in refused(run_script, "tokenize_texts.py", tmp_path, text, text)
    assert text.read_text(encoding="utf-8") == '{"text": "a"}\n'


def test_a_tokenizer_that_draws_its_tokens_is_refused(run_script, tmp_path):
    (tmp_path / "text.jsonl").write_text('{"text": "ab"}\n', encoding="utf-8")
    model = {"type": "BPE", "dropout": 0.5, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    assert "tokenizer.json: model.dropout is 0.5, with which every call makes other tokens" in refused(
        run_script, "tokenize_texts.py", tmp_path, tmp_path / "text.jsonl", tmp_path / "out.tok")


@pytest.mark.parametrize(("script", "arguments", "made"), [
    ("prepare_data.py", ["c4", "o\udcff.jsonl", "--source", "text.jsonl"], "o\udcff.jsonl"),
    ("prepare_bench.py", ["piqa", "--source", "text.jsonl", "--out", "o\udcff"], "o\udcff/piqa.jsonl"),
    ("tokenize_texts.py", [".", "text.jsonl", "o\udcff.tok"], "o\udcff.tok")])
def test_a_name_that_is_no_text_is_written_and_printed_escaped(tmp_path, script, arguments, made):
    (tmp_path / "text.jsonl").write_text(json.dumps(QUESTION | {"text": "a"}) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}), encoding="utf-8")
    process = subprocess.run([sys.executable, REPO / "scripts" / script, *arguments], cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
                             capture_output=True, text=True, check=False)
    assert process.returncode == 0 and process.stdout.startswith(made.replace("\udcff", r"\udcff")) and process.stderr == "", process.stderr
    assert (tmp_path / made).is_file()


@pytest.mark.parametrize(("row", "said"), [
    ({"choices": ["\ud800", "c"]}, "half of a surrogate pair"), ({"query": 3}, '"query" is 3, not a text'), ({"label": 2**70}, "counted from 0"),
    ({"choices": [["a"], "b"]}, "not a list of texts"), ({"label": True}, "counted from 0")])
def test_a_hostile_question_is_one_line(run_script, tmp_path, row, said):
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION | row) + "\n", encoding="utf-8")
    assert said in refused(run_script, "prepare_bench.py", "piqa", "--source", tmp_path / "q.jsonl", "--out", tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(("ending", "opener"), [("xz", lzma.open), ("gz", gzip.open)])
@pytest.mark.parametrize(("line", "said"), [(b" " * (1 << 20), "has a line of more than"), ((json.dumps(QUESTION) + " " * 4000 + "\n").encode(), "times its size")], ids=["line", "file"])
def test_a_bomb_is_refused_before_it_is_unpacked(run_script, tmp_path, ending, opener, line, said):
    with opener(tmp_path / f"bomb.jsonl.{ending}", "wb") as file:
        for _ in range((100 << 20) // len(line)):
            file.write(line)
    assert said in refused(run_script, "prepare_bench.py", "piqa", "--source", tmp_path / f"bomb.jsonl.{ending}", "--out", tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def xz_of(*lines):
    return [lzma.compress(json.dumps({"text": line}).encode() + b"\n") for line in lines]


@pytest.mark.parametrize("cut", [lambda one, two: one + two[:-20], lambda one, two: one + two[:8], lambda one, two: one + b"\xff" + two[1:],
                                 lambda one, two: one + two[:6] + b"\xff" + two[7:], lambda one, two: one + b"no stream", lambda one, two: b""],
                         ids=["end", "begin", "magic", "flags", "other", "empty"])
def test_a_damaged_second_stream_of_an_xz_file_is_refused(run_script, tmp_path, cut):
    """lzma.open() ends silently at a later stream whose head it cannot read: a text would lack its second half."""
    (tmp_path / "a.jsonl.xz").write_bytes(cut(*xz_of("a", "b")))
    assert "a.jsonl.xz: cannot be read" in refused(run_script, "prepare_data.py", "c4", tmp_path / "o.jsonl", "--source", tmp_path / "a.jsonl.xz")
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize("padding", [0, 4, 1 << 17])
def test_all_streams_of_an_xz_file_are_read(run_script, tmp_path, padding):
    """xz allows zeros between streams, behind which lzma.open() reads nothing."""
    (tmp_path / "a.jsonl.xz").write_bytes((b"\0" * padding).join(xz_of("a", "b" * 300_000, "c")) + b"\0" * padding)
    assert run_script("prepare_data.py", "c4", tmp_path / "o.jsonl", "--source", tmp_path / "a.jsonl.xz").returncode == 0
    assert [json.loads(line)["text"][0] for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()] == ["a", "b", "c"]


def test_what_is_no_file_is_not_waited_for(run_script, tmp_path):
    (tmp_path / "b.txt").write_text("b", encoding="utf-8")
    for name in ("a.jsonl", "a.txt", "a.gguf", "tokenizer.model"):
        os.mkfifo(tmp_path / name)
    for script, arguments in (("prepare_data.py", ["wikitext2", tmp_path / "o.jsonl", "--source", tmp_path / "a.txt"]),
                              ("prepare_data.py", ["c4", tmp_path / "o.jsonl", "--source", tmp_path / "a.jsonl"]),
                              ("tokenize_texts.py", [tmp_path, tmp_path / "b.txt", tmp_path / "o.tok"]),
                              ("import_gguf.py", [tmp_path / "a.gguf", tmp_path / "model"])):
        assert "is no file" in refused(run_script, script, *arguments)


def test_brackets_that_nothing_closes_take_linear_time():
    begin = time.process_time()
    for mark in "([{\"'":
        prepare_data.detokenized(f"{mark} " * 200_000)
        prepare_data.detokenized(mark + " " * 200_000)
        prepare_bench.hellaswag_cleaned(mark * 200_000)
    assert time.process_time() - begin < 20
    assert prepare_data.detokenized("( a b ) ( [ c ] \" d \" ' e") == "(a b) ( [c] \"d\" ' e"
    assert prepare_bench.hellaswag_cleaned("a [b] c [d\n] e]") == "a c [d\n] e]"
