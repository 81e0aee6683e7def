"""What the repository's texts point at is there: links, anchors, and the files that documents, comments and `qroar list` name."""
import ast
import fnmatch
import functools
import re
import subprocess
from pathlib import PurePosixPath

import pytest

from support.program import REPO

FILES = sorted(subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True).stdout.split("\0")[:-1])
KNOWN = set(FILES) | {str(parent) for file in FILES for parent in PurePosixPath(file).parents} - {"."}
DOCUMENTS = [file for file in FILES if file.endswith(".md")]
CODE = [file for file in FILES if file.startswith(("src/", "tests/", "scripts/", "bench/", "cmake/", "configs/", "experiments/"))
        and not file.endswith((".md", ".model", ".safetensors", ".json", ".jsonl", ".csv")) and not file.startswith("tests/fuzz/corpus/")]

# What is cited and is no file of the repository, each with the reason.
EXCEPTIONS = {
    "bench/claims_bench": "a program of the build folder",
    "configs/models/llama2-7b.yaml": "a user's own, in an example",
    "experiments/a.yaml": "an example of a message's place",
    "tests/golden/rows.received.json": "what the golden test writes when rows differ",
}


@functools.cache
def text_of(file):
    return (REPO / file).read_text(encoding="utf-8")


# ---- links

LINK = re.compile(r"!?\[[^\]]*\]\(\s*([^()\s]+)[^()]*\)")


def without_code(document):
    """The document's text, on as many lines, with its blocks of code and `code` left out."""
    lines, is_code = [], False
    for line in document.split("\n"):
        if line.lstrip().startswith("```"):
            is_code, line = not is_code, ""
        lines.append("" if is_code else re.sub(r"`[^`]*`", "", line))
    return "\n".join(lines)


def anchors_of(document):
    """The anchors that GitHub makes of headings, and those written out."""
    anchors, is_code = set(), False
    for line in document.split("\n"):
        is_code ^= line.lstrip().startswith("```")
        anchors.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        if is_code or not (heading := re.match(r"#{1,6} +(.*?)[ #]*$", line)):
            continue
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        slug, repeats = re.sub(r"[^\w\- ]", "", title).replace(" ", "-"), 0
        while (anchor := f"{slug}-{repeats}" if repeats else slug) in anchors:
            repeats += 1
        anchors.add(anchor)
    return anchors


def broken_links(file, document):
    """"line: target" of each relative link and image of a document that leads nowhere."""
    broken, text = [], without_code(document)
    for link in LINK.finditer(text):  # whose label may be on two lines
        path, _, anchor = link[1].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        place = ((REPO / file).parent / path if path else REPO / file).resolve()
        found = str(place.relative_to(REPO)) if place.is_relative_to(REPO) else ""
        other = document if found == file else text_of(found) if found.endswith(".md") and found in KNOWN else ""
        if found not in KNOWN or (anchor and anchor not in anchors_of(other)):
            broken.append(f"{file}:{text.count(chr(10), 0, link.start()) + 1}: {link[1]}")
    return broken


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_relative_link_image_and_anchor_resolves(file):
    broken = broken_links(file, text_of(file))
    assert not broken, "\n".join(broken)


# ---- files that are named

TOPS = sorted({file.split("/")[0] for file in FILES if "/" in file})
ROOMS = sorted({file.split("/")[1] for file in FILES if file.startswith("src/") and file.count("/") > 1})
NAME = r"[\w.*{},/-]*[\w*}]"
# In this repository, seen from its root or from a document: docs/method.md, ../experiments/LOG.md.
FROM_ROOT = re.compile(rf"(?<![\w/.~$}}<-])(?:\.\./)*((?:{'|'.join(map(re.escape, TOPS))})/{NAME})(?![<$(])")
# As an #include has it: rope/bands.h.
FROM_SRC = re.compile(rf"(?<![\w/.~$}}<-])((?:{'|'.join(map(re.escape, ROOMS))})/{NAME}\.(?:h|cpp|cuh|cu))\b")


def alternatives(path):
    """a.{h,cpp} -> a.h, a.cpp."""
    braces = re.search(r"\{([^{}]*,[^{}]*)\}", path)
    if not braces:
        return [path]
    return [one for part in braces[1].split(",") for one in alternatives(path[:braces.start()] + part + path[braces.end():])]


def is_there(path):
    """A file, a folder, a program or module without its ending, or a pattern that something matches."""
    if re.search(r"\{\w+\}|\.\.\.", path):  # configs/tasks/{name}.yaml: a name to be filled in
        return True
    return path in KNOWN or path + ".cpp" in KNOWN or path + ".py" in KNOWN or ("*" in path and bool(fnmatch.filter(KNOWN, path)))


def missing_files(text):
    """What a text names as a file of this repository that is none."""
    included = FROM_SRC.findall(text)  # results/results.h is no result
    named = [path for path in FROM_ROOT.findall(text) if path not in included] + ["src/" + path for path in included]
    wanted = dict.fromkeys(one for path in named for one in alternatives(path.rstrip(".,/")) if one not in EXCEPTIONS)
    return [path for path in wanted if not is_there(path)]


def comments_of(file):
    """(line number, comment) of a source file; docstrings count as comments."""
    text = text_of(file)
    if file.endswith((".h", ".cpp", ".cu", ".cuh")):
        return [(number, match[1]) for number, line in enumerate(text.split("\n"), 1) if (match := re.search(r"(?<!:)//(.*)", line))]
    found = [(number, match[1]) for number, line in enumerate(text.split("\n"), 1) if (match := re.search(r"(?:^|\s)#(.*)", line))]
    if file.endswith(".py") or text.startswith(("#!/usr/bin/env python", "#!/usr/bin/python")):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
                found.append((node.body[0].lineno, ast.get_docstring(node)))
    return found


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_file_that_a_document_names_is_in_the_repository(file):
    found = [f"{file}:{number}: {path}" for number, line in enumerate(text_of(file).split("\n"), 1) for path in missing_files(line)]
    assert not found, "\n".join(found)


def test_every_file_that_a_comment_names_is_in_the_repository():
    found = [f"{file}:{number}: {path}" for file in CODE for number, comment in comments_of(file) for path in missing_files(comment)]
    assert not found, "\n".join(found)


INCLUDED = re.compile(r'^#include "(.+)"', re.M)
INCLUDE_FOLDERS = ("src", "tests", "tests/fuzz", "bench")
WRITTEN_BY_CMAKE = ("commit.h",)


def test_every_header_that_a_source_includes_is_there():
    """No other test compiles the fuzz targets, those of a GPU, or for another processor."""
    sources = [file for file in CODE if file.endswith((".h", ".cpp", ".cu"))]
    missing = [f"{file}: {name}" for file in sources for name in INCLUDED.findall(text_of(file)) if name not in WRITTEN_BY_CMAKE
               and not any((REPO / folder / name).is_file() for folder in (*INCLUDE_FOLDERS, PurePosixPath(file).parent))]
    assert len(sources) > 300 and not missing, "\n".join(missing)


DEFINED = re.compile(r"^(?:class|struct) (\w+)(?: final)?(?: : .*)? \{$", re.M)


def test_no_two_headers_define_a_class_of_the_same_name():
    """The linker takes one destructor for both, and no compiler tells."""
    found = [(name, file) for file in CODE if file.startswith("src/") and file.endswith(".h") for name in DEFINED.findall(text_of(file))]
    twins = {name: files for name, _ in found if len(files := [file for other, file in found if other == name]) > 1}
    assert len(found) > 100 and not twins, twins


# ---- definitions are cited where a reader can open them

# A bare name may be that of a file outside of the repository; documents link their neighbours by it.
BARE = re.compile(r"(?<!docs/)(?<![\w-])(?:method|design)\.md|\bpeers\.md")


def bare_citations(file, text):
    if file.startswith("docs/"):
        text = LINK.sub(lambda link: "\n" * link[0].count("\n"), text)
    return [f"{file}:{number}: {line.strip()}" for number, line in enumerate(text.split("\n"), 1) if BARE.search(line)]


def test_nothing_cites_the_definitions_without_their_folder():
    texts = [file for file in [*DOCUMENTS, *CODE, ".ci/run", "CMakeLists.txt"] if file != "tests/e2e/test_docs.py"]
    found = [citation for file in texts for citation in bare_citations(file, text_of(file))]
    assert not found, "\n".join(found)


def test_list_names_files_of_the_repository(run):
    process = run("list")
    assert process.returncode == 0 and "docs/method.md" in process.stdout
    assert missing_files(process.stdout) == [] and bare_citations("list", process.stdout) == []


# ---- these tests can fail

def test_a_broken_link_image_or_anchor_is_found():
    document = "# One\n[a](README.md) [b](no.md) ![c](docs/no.png) [d](#one) [e](#two) [f](docs/method.md#1-the-problem) [g](docs/method.md#no)"
    assert [link.split(": ")[1] for link in broken_links("README.md", document)] == ["no.md", "docs/no.png", "#two", "docs/method.md#no"]
    assert broken_links("README.md", "`[a](no.md)`\n```\n[b](no.md)\n```\n[c](https://example.org/no.md)") == []
    assert broken_links("README.md", "one\n[a\nb](no.md)") == ["README.md:2: no.md"]


@pytest.mark.parametrize(("text", "missing"), [
    ("see docs/method.md 3.2, src/ops/rtn.h and rope/bands.h", []),
    ("see docs/no.md, (src/ops/no.h) and rope/no.h.", ["docs/no.md", "src/ops/no.h", "src/rope/no.h"]),
    ("src/rope/schemes/*.cpp, src/rope/bands.{h,cpp}, but src/rope/no*.cpp, src/rope/{bands,no}.h", ["src/rope/no*.cpp", "src/rope/no.h"]),
    ("results/results.h is src/results/results.h", []),
    ("scripts/test, scripts/no; tests/support/window_losses; src/harness/", ["scripts/no", "src/harness"]),
    ("build/release/bench/decode_bench, ~/.cache/qroar/search, data/x.jsonl, results/<name>, configs/tasks/{name}.yaml", []),
])
def test_a_file_that_is_not_there_is_found(text, missing):
    assert sorted(missing_files(text)) == sorted(missing)


def test_a_bare_citation_is_found():
    assert len(bare_citations("src/a.h", "// method.md section 3\n// docs/method.md 3\n// reference/peers" ".md 4\n// docs/peers" ".md")) == 3
    assert len(bare_citations("docs/a.md", "[method](method.md#a)\nsee method.md\n[x](inputs.md)")) == 1
