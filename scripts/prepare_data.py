#!/usr/bin/env -S sh -c 'exec "${QROAR_VENV:-$(dirname "$0")/../.venv}/bin/python" "$0" "$@"'
"""Write a corpus of the field as documents for `data.path`: {"id", "text", "words", "bytes", "hash"} a line.

usage: scripts/prepare_data.py govreport|proof_pile|pg19|wikitext2|c4 OUT.jsonl [--source FILE] [--documents N] [--detokenize]

Without --source the split that configs/protocols/ names is fetched from the Hugging Face hub (needs a network and `pip install
datasets`).  With it a local copy is read: .txt (wikitext2's raw file), .jsonl or .jsonl.xz.  Order is kept: "the first N documents of
at least M tokens" is chosen by data.documents and data.min_tokens.  wikitext2 becomes one document, rows joined by blank lines as AWQ and GPTQ
do; with --detokenize one document a page, detokenized as lm-evaluation-harness does, with the words and bytes of the page before that.
"""
import argparse
import itertools
import json
import lzma
import os
import re
import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).resolve().parent))  # there, tokenize.py hides the standard library's module of that name
import xxhash

# (hub, subset, split, field of the text)
CORPORA = {
    "govreport": ("tau/scrolls", "gov_report", "test", "input"),
    "proof_pile": ("hoskinson-center/proof-pile", "default", "test", "text"),
    "pg19": ("emozilla/pg19-test", None, "test", "text"),
    "wikitext2": ("Salesforce/wikitext", "wikitext-2-raw-v1", "test", "text"),
    "c4": ("allenai/c4", "en", "validation", "text"),
}


class BadInput(Exception):
    """What is wrong, in one line."""


def rows_of_hub(name):
    hub, subset, split, field = CORPORA[name]
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise BadInput("the package `datasets` is not installed; pip install datasets, or read a local copy with --source") from error
    for number, row in enumerate(load_dataset(hub, subset, split=split, streaming=True)):
        yield str(row.get("id") or row.get("short_book_title") or f"{name}:{number}"), row[field]


def rows_of_file(name, path):
    if path.suffix == ".txt":
        yield path.name, path.read_bytes().decode("utf-8")
        return
    opened = lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else open(path, encoding="utf-8")
    field = CORPORA[name][3]
    with opened as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                text = row[field] if field in row else row["text"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise BadInput(f"{path}:{number}: no JSON object with \"{field}\" or \"text\" ({error})") from error
            yield str(row.get("id", f"{name}:{number}")), text


def wikitext_lines(rows):
    """The raw lines, a blank one empty: what the hub's rows are, whether they come as rows or as a whole file."""
    for _, text in rows:
        lines = text.splitlines(keepends=True) or [text]
        yield from (line if line.strip() else "" for line in lines)


def wikitext_pages(lines):
    """Pages begin with a heading of the first level: " = Title = "."""
    page = []
    for line in lines:
        if re.fullmatch(r" = [^=].*[^=] = \n?", line):
            if "".join(page).strip():
                yield "".join(page)
            page = []
        page.append(line or " \n")
    yield "".join(page)


def detokenized(page):
    """lm-evaluation-harness' rules for WikiText (lm_eval/tasks/wikitext/preprocess_wikitext.py), in their order."""
    text = page.replace("s '", "s'")
    text = re.sub(r"/' [0-9]/", r"/'[0-9]/", text)
    for mark, put in ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", ".")):
        text = text.replace(mark, put)
    for mark in ":;.!?,":
        text = text.replace(f" {mark} ", f"{mark} ")
    for left, right, inner in ((r"\(", r"\)", r"[^\)]"), (r"\[", r"\]", r"[^\]]"), ("{", "}", "[^}]"), ('"', '"', '[^"]'), ("'", "'", "[^']")):
        text = re.sub(rf"{left}\s*({inner}*?)\s*{right}", lambda match: match[0][0] + match[1] + match[0][-1], text)
    for mark, put in (("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" \u00b0 ", "\u00b0"), (" \n", "\n"), ("\n ", "\n"),
                      (" N ", " 1 "), (" 's", "'s")):
        text = text.replace(mark, put)
    return text


def documents_of(name, rows, detokenize):
    """(id, text, published text)"""
    if name != "wikitext2":
        yield from ((document, text, text) for document, text in rows)
    elif detokenize:
        for number, page in enumerate(wikitext_pages(wikitext_lines(rows))):
            yield f"wikitext2:{number}", detokenized(page), page
    else:
        text = "\n\n".join(wikitext_lines(rows))
        yield "wikitext2", text, text


def line_of(document, text, published):
    return json.dumps({"id": document, "text": text, "words": len(re.split(r"\s+", published)), "bytes": len(published.encode()),
                       "hash": xxhash.xxh3_128_hexdigest(text.encode())}, ensure_ascii=False) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("name", choices=sorted(CORPORA))
    parser.add_argument("out", metavar="OUT.jsonl", type=Path)
    parser.add_argument("--source", type=Path, help="a local copy (.txt, .jsonl, .jsonl.xz) in the place of the hub's")
    parser.add_argument("--documents", type=int, help="write the first so many")
    parser.add_argument("--detokenize", action="store_true", help="wikitext2: pages as lm-evaluation-harness reads them")
    arguments = parser.parse_args()
    if arguments.detokenize and arguments.name != "wikitext2":
        parser.error("--detokenize is for wikitext2")
    temporary = arguments.out.with_name(f"{arguments.out.name}.{os.getpid()}.tmp")
    try:
        rows = rows_of_file(arguments.name, arguments.source) if arguments.source else rows_of_hub(arguments.name)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        count = 0
        with open(temporary, "w", encoding="utf-8") as file:
            for document in itertools.islice(documents_of(arguments.name, rows, arguments.detokenize), arguments.documents):
                file.write(line_of(*document))
                count += 1
        temporary.rename(arguments.out)
    except (BadInput, OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        sys.exit(f"prepare_data: {error}")
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{arguments.out}: {count} documents")


if __name__ == "__main__":
    main()
