"""scripts/fetch_data against local repositories that are served as GitHub serves its own, and its pins against the data folder."""
import hashlib
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.git_sources import make_sources
from support.program import REPO, assert_one_line, litter

TABLE = json.loads((REPO / "scripts/fetch_data.json").read_text(encoding="utf-8"))
COMMIT, SHORT = "0" * 40, "0" * 8

# One file of every kind: a file a document, in folders that are looked through, of several repositories, of a tree and of a shortened
# commit, in the order of the list, and a line a report.  Each as (file, parts, documents).
KINDS = [
    ("a/plain", [{"repository": "o/plain", "commit": COMMIT, "id": "p-{stem}", "fields": {"source": "s", "licence": "l"},
                  "files": {"d": ["one.md", "two.x.md"]}}],
     [{"id": "p-one", "text": "caf\u00e9 \u2028 \ufeff\ttab\n", "source": "s", "licence": "l"},
      {"id": "p-two.x", "text": "no end", "source": "s", "licence": "l"}]),
    ("a/deep", [{"repository": "o/deep", "commit": COMMIT, "id": "{stem}", "fields": {}, "files": {"md/**": ["[x] & 'y'.md"]}}],
     [{"id": "[x] & 'y'", "text": "found"}]),
    ("b/parts", [{"repository": "o/tree", "tree": COMMIT, "id": "t/{path}", "fields": {"meta": {"file": "f"}}, "files": {"": ["z.tex"], "A B": ["q: r.tex"]}},
                 {"repository": "o/short", "commit": SHORT, "id": "s/{path}", "fields": {"meta": {"file": "g"}}, "files": {"": ["w.tex"]}}],
     [{"id": "s/w.tex", "text": "w", "meta": {"file": "g"}}, {"id": "t/A B/q: r.tex", "text": "q", "meta": {"file": "f"}},
      {"id": "t/z.tex", "text": "z", "meta": {"file": "f"}}]),
    ("b/listed", [{"repository": "o/listed", "commit": COMMIT, "id": "{stem}", "fields": {"source": "text {stem}"}, "files": {"c": ["y.utf8", "x.utf8"]}}],
     [{"id": "y", "text": "first", "source": "text y"}, {"id": "x", "text": "second", "source": "text x"}]),
    ("b/leval", [{"repository": "o/leval", "commit": COMMIT, "format": "leval", "id": "r-{number:02}", "fields": {"licence": "l"}, "files": {"e": ["r.jsonl"]}}],
     [{"id": f"r-0{number}", "text": f"text\n{number}", "summary": "sum", "licence": "l"} for number in range(2)])]


def in_bytes(documents):
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents).encode()


class Fetcher:
    def __init__(self, folder, table, rows_of):
        self.folder, self.out = folder, folder / "out"
        self.table = make_sources(folder / "git", table, rows_of)
        (folder / "scripts").mkdir()
        for name in ("fetch_data", "git_files.py", "json_lines.py"):
            shutil.copy(REPO / "scripts" / name, folder / "scripts")
        self.write_table()

    def write_table(self):
        (self.folder / "scripts/fetch_data.json").write_text(json.dumps(self.table), encoding="utf-8")

    def __call__(self, *names, **environment):
        clean = {key: value for key, value in os.environ.items() if key != "QROAR_DATA"}
        environment = clean | {"QROAR_GIT_BASE": f"file://{self.folder}/git"} | {key: str(value) for key, value in environment.items()}
        command = [sys.executable, self.folder / "scripts/fetch_data", *names, "--out", self.out]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)

    def refused(self, *parts, names=("a",), **environment):
        process = self(*names, **environment)
        lines = process.stderr.splitlines(keepends=True)
        process.stderr = "".join(line for line in lines if " files of " not in line)  # what it is about to fetch
        assert_one_line(process, "fetch_data: ", *parts)
        assert not list(self.out.rglob("*.jsonl"))

    def assert_complete(self, process, expected):
        assert process.returncode == 0, process.stderr
        assert process.stdout.splitlines() == [f"{self.out}/{file}.jsonl" for file in expected]
        for file, content in expected.items():
            assert (self.out / f"{file}.jsonl").read_bytes() == content
        assert not litter(self.out) and [path.name for path in (self.out / ".fetching").iterdir()] == ["lock"]


@pytest.fixture
def small(tmp_path):
    """A fetcher of small texts, and {file: the bytes that they have}."""
    rows = {file: documents for file, _, documents in KINDS}
    table = {"names": {"a": ["a/plain", "a/deep"], "b": ["b/parts", "b/listed", "b/leval"], "none": ["bench/none"]},
             "files": {file: {"parts": parts, "sha256": hashlib.sha256(in_bytes(rows[file])).hexdigest()} for file, parts, _ in KINDS}}
    table["files"]["b/listed"]["listed_order"] = True
    table["files"]["bench/none"] = {"parts": [], "sha256": "0" * 64}
    return Fetcher(tmp_path, table, rows.__getitem__), {file: in_bytes(documents) for file, documents in rows.items()}


def test_every_kind_of_source_gives_the_pinned_bytes_once(small):
    fetch, expected = small
    process = fetch("a", "b", "a")
    fetch.assert_complete(process, expected)
    assert "2 files of file://" in process.stderr
    fetch.assert_complete(fetch("a", "b", QROAR_GIT_BASE="file:///nowhere"), expected)  # all is there: no network is needed
    (fetch.out / "a/plain.jsonl").write_text("changed", encoding="utf-8")
    fetch.assert_complete(fetch("all"), expected)  # all that has a source


def test_only_the_files_that_are_needed_are_fetched(small):
    fetch, _ = small
    fetch.table["files"]["a/plain"]["sha256"] = "0" * 64  # so that what was fetched is kept
    fetch.write_table()
    fetch.refused("SHA-256")
    (repository,) = (fetch.out / ".fetching/a--plain").iterdir()
    kinds = subprocess.run(["git", "--git-dir", repository, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"], check=True,
                           capture_output=True, text=True).stdout.split()
    assert sorted(kinds) == ["blob", "blob", "commit", "tree", "tree"]


def test_killed_at_any_request_it_goes_on_and_ends_with_the_same_bytes(small):
    """A git on PATH that kills its caller at its n-th call."""
    fetch, expected = small
    calls, programs = fetch.folder / "calls", fetch.folder / "bin"
    programs.mkdir()
    real = shutil.which("git")
    (programs / "git").write_text(f'#!/bin/sh\necho >>"{calls}"\n[ "$(wc -l <"{calls}")" != "$DIE_AT" ] || kill -9 "$PPID"\nexec {real} "$@"\n', encoding="ascii")
    (programs / "git").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    fetch.assert_complete(fetch("a", "b", PATH=path, DIE_AT=0), expected)
    whole = len(calls.read_text(encoding="ascii"))
    shutil.rmtree(fetch.out)
    deaths = 0
    for at in range(2, whole, 5):
        calls.write_text("", encoding="ascii")
        process = fetch("a", "b", PATH=path, DIE_AT=at)
        deaths += process.returncode == -signal.SIGKILL
        for file in fetch.out.rglob("*.jsonl"):
            assert file.read_bytes() == expected[str(file.relative_to(fetch.out).with_suffix(""))]
    assert deaths >= 3
    calls.write_text("", encoding="ascii")
    fetch.assert_complete(fetch("a", "b", PATH=path, DIE_AT=0), expected)
    assert len(calls.read_text(encoding="ascii")) < whole  # what had been fetched whole was not fetched again


def test_what_goes_wrong_is_one_line_with_a_remedy(small):
    fetch, _ = small
    fetch.refused("no text 'c'", "known: a, b, none, all", names=["c"])
    fetch.refused("bench/none", "prepare_bench.py", "docs/data.md", names=["none"])
    fetch.refused("o/plain", "cannot be fetched", "QROAR_DATA", QROAR_GIT_BASE="file:///nowhere")
    fetch.refused("o/plain", "Could not resolve host", "with a network", QROAR_GIT_BASE="https://github.invalid")
    fetch.refused("git is not installed", PATH="/nowhere")
    (part,) = fetch.table["files"]["a/plain"]["parts"]
    kept = part["commit"]
    for commit in ("1" * 40, "1" * 8):
        part["commit"] = commit
        fetch.write_table()
        fetch.refused("o/plain", f"no longer has {commit}", "docs/data.md")
    part["commit"] = kept
    part["files"]["d"].append("three.md")
    fetch.write_table()
    fetch.refused("0 files d/three.md", kept)
    part["files"]["d"].remove("three.md")
    part["fields"]["source"] = "changed"
    fetch.write_table()
    fetch.refused("a/plain", "other bytes", fetch.table["files"]["a/plain"]["sha256"], "nothing is written")


def test_the_data_folder_is_a_short_cut_that_must_have_the_same_bytes(small, tmp_path):
    fetch, expected = small
    (tmp_path / "shared/a").mkdir(parents=True)
    for file in ("a/plain", "a/deep"):
        (tmp_path / f"shared/{file}.jsonl.xz").write_bytes(lzma.compress(expected[file]))
    offline = {"QROAR_GIT_BASE": "file:///nowhere", "QROAR_DATA": tmp_path / "shared"}
    fetch.assert_complete(fetch("a", **offline), {file: expected[file] for file in ("a/plain", "a/deep")})
    shutil.rmtree(fetch.out)
    (tmp_path / "shared/a/plain.jsonl.xz").write_bytes(lzma.compress(b"{}\n"))
    fetch.refused("a/plain", "QROAR_DATA gives other bytes", **offline)
    (tmp_path / "shared/a/plain.jsonl.xz").write_bytes(lzma.compress(b"{}\n")[:-20])
    fetch.refused("plain.jsonl.xz", "cannot be unpacked", **offline)


def data_folder():
    if "QROAR_DATA" not in os.environ:
        pytest.skip("QROAR_DATA is not set")
    return Path(os.environ["QROAR_DATA"])


def test_the_pins_are_those_of_the_data_folder():
    for file, entry in TABLE["files"].items():
        assert hashlib.sha256(lzma.decompress((data_folder() / f"{file}.jsonl.xz").read_bytes())).hexdigest() == entry["sha256"], file


@pytest.mark.parametrize("name", ["gao", "govreport_leval", "books_heldout", "proofpile_books", "calib"])
def test_real_texts_come_back_from_repositories_that_have_them(tmp_path, name):
    """Of the repositories there are only our documents, so this is what is done with the files, not whether the public ones still have them."""
    content = {file: lzma.decompress((data_folder() / f"{file}.jsonl.xz").read_bytes()) for file in TABLE["names"][name]}
    table = {"names": {name: TABLE["names"][name]}, "files": {file: TABLE["files"][file] for file in content}}
    fetch = Fetcher(tmp_path, table, lambda file: [json.loads(line) for line in content[file].split(b"\n") if line])
    fetch.assert_complete(fetch(name), content)


@pytest.mark.parametrize(("file", "entry"), TABLE["files"].items(), ids=TABLE["files"])
def test_the_document_on_data_names_every_pin(file, entry):
    text = (REPO / "docs/data.md").read_text(encoding="utf-8")
    folder, name = file.split("/")
    written = f"`{name}` of bench" if folder == "bench" else f"`{file}`"  # `bench/...` would name a file of the repository's folder bench/
    assert f"{entry['sha256']}  {written}\n" in text
    for part in entry["parts"]:
        assert part["repository"] in text and (part.get("commit") or part["tree"])[:8] in text
