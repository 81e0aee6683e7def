"""scripts/prepare_data.py on local copies of real corpora; its WikiText pages against lm-evaluation-harness itself."""
import io
import json
import lzma
import re
import shlex

import pytest
import xxhash
import yaml
from lm_eval.tasks.wikitext.preprocess_wikitext import process_results, wikitext_detokenizer

from conftest import shared_data
from support.program import REPO, assert_one_line, litter, read_rows

LOCAL = {"govreport": "gov/govreport_leval", "proof_pile": "proofpile/books", "c4": "calib/calib", "wikitext2": "wikitext2/test"}


def read_lines(path):
    text = (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8")
    with text as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def prepared(run_script, tmp_path):
    """prepared(corpus, argument...) -> the file's documents."""

    def prepare(*arguments):
        process = run_script("prepare_data.py", arguments[0], tmp_path / "out/texts.jsonl", *arguments[1:])
        assert process.returncode == 0, process.stderr
        documents = read_lines(tmp_path / "out/texts.jsonl")
        assert process.stdout == f"{tmp_path}/out/texts.jsonl: {len(documents)} documents\n" and process.stderr == ""
        assert not litter(tmp_path)
        return documents

    return prepare


@pytest.fixture
def refused_script(run_script, tmp_path):
    """refused_script(corpus, argument...), then parts: one line that holds the parts, and a file that was there stays as it was."""

    def refuse(arguments, *parts):
        (tmp_path / "out.jsonl").write_text("as it was", encoding="utf-8")
        before = sorted(tmp_path.rglob("*"))
        assert_one_line(run_script("prepare_data.py", arguments[0], tmp_path / "out.jsonl", *arguments[1:]), "prepare_data: ", *parts)
        assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "as it was" and sorted(tmp_path.rglob("*")) == before

    return refuse


def measure(run, experiment, tmp_path, changes):
    process = run("run", experiment({"data.path": str(tmp_path / "out/texts.jsonl"), "sweep": None} | changes), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (row,) = read_rows(tmp_path / "results").values()
    return row["metrics"]


@pytest.mark.parametrize("name", ["govreport", "proof_pile", "c4"])
def test_documents_keep_their_order_and_come_with_their_ids_counts_and_hashes(run, experiment, prepared, tmp_path, name):
    source = shared_data(f"{LOCAL[name]}.jsonl.xz")
    documents, wanted = prepared(name, "--source", source, "--documents", 4), read_lines(source)[:4]
    assert [(document["id"], document["text"]) for document in documents] == [(row["id"], row["text"]) for row in wanted]
    for document in documents:
        assert list(document) == ["id", "text", "words", "bytes", "hash"]
        assert document["words"] == len(re.split(r"\s+", document["text"])) and document["bytes"] == len(document["text"].encode())
        assert document["hash"] == xxhash.xxh3_128_hexdigest(document["text"].encode())
    assert measure(run, experiment, tmp_path, {"data.documents": 4})["nll"]["count"] == 4 * 63


def test_books_of_a_local_file_have_the_fields_of_the_hub_or_a_number(prepared, tmp_path):
    (tmp_path / "books.jsonl").write_text('{"short_book_title": "A", "text": "One."}\r\n\n{"id": 7, "text": "T\\u00fc\\n\\nx"}\n{"id": "c", "text": ""}\n',
                                          encoding="utf-8")
    documents = prepared("pg19", "--source", tmp_path / "books.jsonl")
    assert [(document["id"], document["text"], document["words"], document["bytes"]) for document in documents] == [
        ("pg19:1", "One.", 1, 4), ("7", "T\u00fc\n\nx", 2, 6)]


def test_a_report_is_read_from_the_field_of_the_hub(prepared, tmp_path):
    (tmp_path / "scrolls.jsonl").write_text('{"id": "a", "input": "The report.", "output": "Its summary."}\n', encoding="utf-8")
    (document,) = prepared("govreport", "--source", tmp_path / "scrolls.jsonl")
    assert (document["id"], document["text"]) == ("a", "The report.")


def test_wikitext_is_one_text_of_rows_joined_by_blank_lines(run, experiment, prepared, tmp_path):
    (row,) = read_lines(shared_data("wikitext2/test.jsonl.xz"))
    rows = [line if line.strip() else "" for line in io.StringIO(row["text"])]  # as the hub has them
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in rows), encoding="utf-8")
    (tmp_path / "wiki.test.raw.txt").write_bytes(row["text"].encode())
    for source in (shared_data("wikitext2/test.jsonl.xz"), tmp_path / "rows.jsonl", tmp_path / "wiki.test.raw.txt"):
        (document,) = prepared("wikitext2", "--source", source)
        assert document["id"] == "wikitext2" and document["text"] == "\n\n".join(rows)
    assert measure(run, experiment, tmp_path, {"data.max_tokens": 200, "windows.truncate": False})["nll"]["count"] == 200


@pytest.mark.parametrize(("split", "count"), [("test", 62), ("valid", 60)])
def test_wikitext_pages_texts_and_counts_are_the_harness_own(prepared, split, count):
    source = shared_data(f"wikitext2/{split}.jsonl.xz")
    pages = []
    for line in read_lines(source)[0]["text"].split("\n"):
        if line.split()[:1] == line.split()[-1:] == ["="] and "=" not in (line.split()[1], line.split()[-2]):
            pages.append([])
        if pages:
            pages[-1].append(line)
    pages = [{"page": "\n".join(page)} for page in pages]
    assert len(pages) == count
    documents = prepared("wikitext2", "--source", source, "--detokenize")
    assert [document["text"] for document in documents] == [wikitext_detokenizer(page) for page in pages]
    theirs = [process_results(page, [0.0]) for page in pages]
    assert [document["words"] for document in documents] == [result["word_perplexity"][1] for result in theirs]
    assert [document["bytes"] for document in documents] == [result["bits_per_byte"][1] for result in theirs]


def test_wikitext_does_not_depend_on_how_the_raw_text_comes(prepared, tmp_path):
    """A page's title may be one letter; U+2028 and the like end no line."""
    raw = " \n = X = \n \n a\u2028b , c \n = = Part = = \n \n = Y Z = \n \n d \n"
    (tmp_path / "whole.txt").write_text(raw, encoding="utf-8")
    rows = "".join(json.dumps({"text": f"{line}\n" if line.strip() else ""}) + "\n" for line in raw.removesuffix("\n").split("\n"))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    whole = prepared("wikitext2", "--source", tmp_path / "whole.txt", "--detokenize")
    assert [document["text"].split("\n")[0] for document in whole] == [" = X =", " = Y Z ="]
    assert prepared("wikitext2", "--source", tmp_path / "rows.jsonl", "--detokenize") == whole
    (joined,) = prepared("wikitext2", "--source", tmp_path / "whole.txt")
    assert joined["text"] == "\n\n".join(["", " = X = \n", "", " a\u2028b , c \n", " = = Part = = \n", "", " = Y Z = \n", "", " d \n"])


def test_the_program_counts_the_published_words_and_bytes_of_detokenized_pages(run, experiment, prepared, tmp_path):
    documents = prepared("wikitext2", "--source", shared_data("wikitext2/test.jsonl.xz"), "--detokenize", "--documents", 1)
    metrics = measure(run, experiment, tmp_path, {"metrics": ["perplexity", "bits_per_byte"], "windows": {"length": 512}})
    total = metrics["nll"]["value"] * metrics["nll"]["count"]
    assert metrics["word_perplexity"]["value"] == pytest.approx(2.718281828459045 ** (total / documents[0]["words"]))
    assert metrics["byte_perplexity"]["value"] == pytest.approx(2.718281828459045 ** (total / documents[0]["bytes"]))


@pytest.mark.parametrize(("content", "parts"), [
    ('{"id": "a", "text": "b"}\n{"id": "c"}\n', [':2: no "text"']),
    ('{"id": "a", "text": "b"}\n{"id": "c", "text": 5}\n', [':2: "text" is 5, not a text']),
    ('{"id": "a", "text": "b"}\n{"id": "c", "te\n', [":2:", "broken JSON"]),
    ('{"id": "a", "text": "b"}\n["text"]\n', [":2: no JSON object"]),
    ('{"id": "a", "text": "\\ud83d"}\n', [':1: "text" holds half of a surrogate pair']),
    ("\n", [": holds no text"]),
])
def test_a_bad_line_is_named(refused_script, tmp_path, content, parts):
    (tmp_path / "bad.jsonl").write_text(content, encoding="utf-8")
    refused_script(("pg19", "--source", tmp_path / "bad.jsonl"), f"{tmp_path}/bad.jsonl{parts[0]}", *parts[1:])


@pytest.mark.parametrize(("name", "content"), [
    ("bad.jsonl.xz", b"no xz"), ("bad.jsonl.gz", b"no gzip"), ("bad.jsonl", b'{"text": "\xff"}\n'), ("bad.txt", b"\xff"), ("bad.parquet", b"PAR1"),
    ("bad.jsonl.xz", lzma.compress(b'{"text": "a"}\n' * 9999)[:-20]),
])
def test_an_unreadable_file_is_named(refused_script, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused_script(("wikitext2", "--source", tmp_path / name), f"{tmp_path}/{name}:")


def test_a_missing_file_and_bad_arguments_are_named(refused_script, run_script, tmp_path):
    refused_script(("pg19", "--source", tmp_path / "nowhere.jsonl"), f"{tmp_path}/nowhere.jsonl")
    (tmp_path / "good.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    refused_script(("pg19", "--source", tmp_path / "good.jsonl", "--detokenize"), "--detokenize is for wikitext2")
    refused_script(("pg19", "--source", tmp_path / "good.jsonl", "--documents", 0), "--documents 0: at least 1")
    process = run_script("prepare_data.py", "pg19", tmp_path / "out.json", "--source", tmp_path / "good.jsonl")
    assert_one_line(process, f"{tmp_path}/out.json", "is not a .jsonl file")


def test_the_hub_out_of_reach_is_one_line_that_names_the_way_without_it(refused_script, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    refused_script(("pg19",), "emozilla/pg19-test: cannot be fetched", "read it with --source")


MADE = sorted(path.relative_to(REPO) for path in (REPO / "configs/data").glob("*.yaml") if "prepare_data" in path.read_text(encoding="utf-8"))


def test_there_are_corpora():
    assert len(MADE) == 6


@pytest.mark.parametrize("file", MADE, ids=str)
def test_a_corpus_is_where_the_command_at_its_head_writes_it(run_script, tmp_path, file):
    text = (REPO / file).read_text(encoding="utf-8")
    script, name, out, *options = shlex.split(re.search(r"^# Made by: (.*)$", text, re.MULTILINE)[1])
    assert (REPO / file.parent / yaml.safe_load(text)["data"]["path"]).resolve() == REPO / out
    (tmp_path / "source.txt").write_text(" = A = \n \n b \n", encoding="utf-8")
    process = run_script(script.removeprefix("scripts/"), name, tmp_path / "out.jsonl", *options, "--source", tmp_path / "source.txt")
    assert process.returncode == 0, process.stderr
