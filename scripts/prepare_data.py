#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""Write a standard corpus as documents for `data.path`, one {"id", "text", "words", "bytes", "hash"} per line.

usage: scripts/prepare_data.py govreport|proof_pile|pg19|wikitext2|c4 OUT.jsonl [--source FILE] [--documents N] [--detokenize]

Without --source the split that configs/protocols/ names is fetched from the Hugging Face hub (needs a network).
With it a local copy is read: .jsonl, .jsonl.xz or .jsonl.gz with the hub's field or "text", or one .txt (wikitext2's raw
file).  Keeps the order and drops only empty texts: data.documents and data.min_tokens select "the first N documents of at least M
tokens".  wikitext2 becomes one document, with rows joined by blank lines as in AWQ and GPTQ; with --detokenize, one document per page,
detokenized as in lm-evaluation-harness.
`words` and `bytes` are those of the published text, of a page before it is detokenized; `hash` is XXH3-128 of `text`.
"""
import argparse
import itertools
import json
import re
import sys
from pathlib import Path

import xxhash

from json_lines import HUB, BadInput, field, hub_rows, id_of, of_the_system, printable, read_rows, read_text, stop_in_one_line, words_in, write_atomically

# The dataset on the hub, and the field of the text.  Two are files with a loading script, which `datasets` no longer runs.
SCROLLS = f"zip://gov_report/test.jsonl::{HUB}/datasets/tau/scrolls/resolve/main/gov_report.zip"
PROOF_PILE = "hf://datasets/hoskinson-center/proof-pile/test/proofpile_test.jsonl.gz"
CORPORA = {
    "govreport": ({"path": "json", "data_files": {"test": SCROLLS}, "split": "test"}, "input"),
    "proof_pile": ({"path": "json", "data_files": {"test": PROOF_PILE}, "split": "test"}, "text"),
    "pg19": ({"path": "emozilla/pg19-test", "split": "test"}, "text"),
    "wikitext2": ({"path": "Salesforce/wikitext", "name": "wikitext-2-raw-v1", "split": "test"}, "text"),
    "c4": ({"path": "allenai/c4", "name": "en", "split": "validation"}, "text"),
}


def texts_of_hub(name):
    where, key = CORPORA[name]
    for number, (place, row) in enumerate(hub_rows(**where), start=1):
        yield id_of(place, row, row.get("short_book_title") or f"{name}:{number}"), field(place, row, key)


def texts_of_file(name, path):
    if path.suffix == ".txt":
        yield path.name, read_text(path)
        return
    for number, (place, _, row) in enumerate(read_rows(path), start=1):
        key = CORPORA[name][1]
        yield id_of(place, row, f"{name}:{number}"), field(place, row, key if key in row else "text")


def wikitext_raw(texts):
    """Returns the raw file, given completely or as the hub's rows, which are its lines, with blank lines empty."""
    lines = (text if text.strip() else " \n" for _, text in texts)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def wikitext_rows(raw):
    """Returns the hub's rows."""
    return [f"{line}\n" if line.strip() else "" for line in raw.removesuffix("\n").split("\n")]


def wikitext_pages(raw):
    """Yields the pages of the hub's EleutherAI/wikitext_document_level, which the harness reads: each begins with a line "= ... =" and lacks
    its final newline."""
    page = []
    for line in raw.split("\n"):
        outer = line.replace("= = =", "===").replace("= =", "==").strip()  # so that only first-level headings have a single =
        if outer.startswith("= ") and outer.endswith(" ="):
            if "\n".join(page).strip():
                yield "\n".join(page)
            page = []
        page.append(line)
    yield "\n".join(page)


def detokenized(page):
    """Applies lm-evaluation-harness' rules for WikiText (lm_eval/tasks/wikitext/preprocess_wikitext.py), in their order."""
    text = page.replace("s '", "s'")
    text = re.sub(r"/' [0-9]/", r"/'[0-9]/", text)
    for mark, put in ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", ".")):
        text = text.replace(mark, put)
    for mark in ":;.!?,":
        text = text.replace(f" {mark} ", f"{mark} ")
    for left, right, inner in ((r"\(", r"\)", r"[^\)]"), (r"\[", r"\]", r"[^\]]"), ("{", "}", "[^}]"), ('"', '"', '[^"]'), ("'", "'", "[^']")):
        stripped = lambda match: match[0][0] + match[1].strip() + match[2] if match[2] else match[0]  # noqa: E731
        text = re.sub(rf"{left}({inner}*)({right})?", stripped, text)  # what nothing closes is skipped at once: no search behind each bracket
    for mark, put in (("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" \u00b0 ", "\u00b0"), (" \n", "\n"), ("\n ", "\n"),
                      (" N ", " 1 "), (" 's", "'s")):
        text = text.replace(mark, put)
    return text


def documents_of(name, texts, detokenize):
    """Yields (id, text, published text)."""
    if name != "wikitext2":
        # The program rejects empty documents, and min_tokens would drop them.
        yield from ((document, text, text) for document, text in texts if text)
        return
    raw = wikitext_raw(texts)
    if detokenize and raw.strip():
        for number, page in enumerate(wikitext_pages(raw)):
            yield f"wikitext2:{number}", detokenized(page), page
    elif raw.strip():
        text = "\n\n".join(wikitext_rows(raw))
        yield "wikitext2", text, text


def line_of(document, text, published):
    line = {"id": document, "text": text, "words": words_in(published), "bytes": len(published.encode()),
            "hash": xxhash.xxh3_128_hexdigest(text.encode())}
    return f"{json.dumps(line, ensure_ascii=False)}\n".encode()


def prepare(arguments):
    """Returns the number of documents written."""
    if arguments.detokenize and arguments.name != "wikitext2":
        raise BadInput(f"--detokenize is for wikitext2, not for {arguments.name}; leave it out")
    if arguments.documents is not None and arguments.documents < 1:
        raise BadInput(f"--documents {arguments.documents}: at least 1")
    if arguments.out.suffix != ".jsonl":
        raise BadInput(f"{arguments.out}: is not a .jsonl file, which the program needs; change its ending")
    texts = texts_of_file(arguments.name, arguments.source) if arguments.source else texts_of_hub(arguments.name)
    documents = itertools.islice(documents_of(arguments.name, texts, arguments.detokenize), arguments.documents)
    first = next(documents, None)
    if first is None:
        raise BadInput(f"{arguments.source or arguments.name}: holds no text; give one with documents")
    return write_atomically(arguments.out, (line_of(*document) for document in itertools.chain([first], documents)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("name", choices=sorted(CORPORA))
    parser.add_argument("out", metavar="OUT.jsonl", type=Path)
    parser.add_argument("--source", type=Path, help="a local copy (.txt, .jsonl, .jsonl.xz, .jsonl.gz) in the place of the hub's")
    parser.add_argument("--documents", type=int, help="write the first so many")
    parser.add_argument("--detokenize", action="store_true", help="wikitext2: pages as lm-evaluation-harness reads them")
    arguments = parser.parse_args()
    stop_in_one_line("prepare_data")
    try:
        count = prepare(arguments)
    except BadInput as error:
        sys.exit(printable(f"prepare_data: {error}"))
    except OSError as error:
        sys.exit(printable(f"prepare_data: {of_the_system(error, arguments.out)}"))
    print(printable(f"{arguments.out}: {count} documents"))


if __name__ == "__main__":
    main()
