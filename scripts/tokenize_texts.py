#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""Tokenize a text with a model folder's tokenizer.json into the program's token file.

usage: scripts/tokenize_texts.py MODEL_FOLDER TEXT OUT

TEXT is a .txt file (one document) or a .jsonl file ({"id", "text"} a line, perhaps with "group").  OUT has the format of src/data/token_file.h and names
the tokenizer by its hash.  No special token is added, and a special token spelled out in the text is text.  The header's words and bytes,
for bits_per_byte, are counted in the text as lm-evaluation-harness counts them, unless a line brings its own `words` and `bytes`.
"""
import argparse
import json
import re
import struct
import sys
import unicodedata
from pathlib import Path

import numpy as np
import xxhash
from tokenizers import Tokenizer

from json_lines import BadInput, field, id_of, of_the_system, printable, read_rows, read_text, shortened, stop_in_one_line, words_in, write_atomically

ZEROS = "0" * 32  # place of the file's own hash
MOST_COUNTED = 10**12  # words or bytes of a text, as in src/data/texts.cpp


def read_documents(path):
    """Returns (id, text, words, bytes, group) for every document, with untranslated line ends, as the program reads it."""
    if path.suffix == ".txt":
        text = read_text(path)
        return [(path.name, text, words_in(text), len(text.encode()), path.name)]
    documents, places = [], {}
    for number, (place, _, row) in enumerate(read_rows(path), start=1):
        text = field(place, row, "text")
        words, size = count_of(place, row, "words", words_in(text)), count_of(place, row, "bytes", len(text.encode()))
        name = id_of(place, row, f"{path.stem}:{number}")
        if places.setdefault(name, place) != place:
            raise BadInput(f"{place}: the id '{name}' is that of {places[name]}, too; give every document its own")
        documents.append((name, text, words, size, group_of(place, row, name)))
    if not documents:
        raise BadInput(f"{path}: holds no documents; give a file with some")
    return documents


def count_of(place, row, key, counted):
    """Returns the count that the line gives for the published text, else the count of this text."""
    if key in row and (type(row[key]) is not int or not 1 <= row[key] <= MOST_COUNTED):
        raise BadInput(f'{place}: "{key}" is {shortened(row[key])}, not a number of them; correct it or leave it out')
    return row.get(key, counted)


def group_of(place, row, otherwise):
    """Returns what the text is a piece of, if the line says so: documents of one group are one cluster of the errors, so that names that look alike
    must be equal."""
    if "group" not in row:
        return otherwise
    group = field(place, row, "group")
    unseen = any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in group)
    if not group or unseen or group != group.strip() or not unicodedata.is_normalized("NFC", group):
        raise BadInput(f'{place}: "group" is {ascii(group[:60])}; name what the text is a piece of on one line, in the form NFC, without spaces at the ends or '
                       "characters that nobody sees, or leave it out")
    return group


def tokenizer_file(folder):
    """Returns the file that the program reads: tokenizer.model, or tokenizer.json where that is missing or in tiktoken's format."""
    model = folder / "tokenizer.model"
    if model.exists() or model.is_symlink():
        if model.exists() and not model.is_file():
            raise BadInput(f"{model}: is no file")  # opening a FIFO would wait for ever
        with open(model, "rb") as file:
            if not re.fullmatch(rb"[A-Za-z0-9+/=]+ [0-9]+", file.read(4096).partition(b"\n")[0]):
                raise BadInput(f"{model}: the program reads it itself, and its tokens may differ from tokenizer.json's; name the text in the experiment")
    return folder / "tokenizer.json"


def encode(folder, text_file):
    """Returns the bytes of the token file."""
    file = tokenizer_file(folder)
    try:
        tokenizer = Tokenizer.from_str(read_text(file))
    except (OSError, BadInput):
        raise
    except Exception as error:  # tokenizers raises no more specific exception
        raise BadInput(f"{file}: {error}") from error
    if tokenizer.get_vocab_size() == 0:
        raise BadInput(f"{file}: has no tokens")
    if dropout := getattr(tokenizer.model, "dropout", None):
        raise BadInput(f"{file}: model.dropout is {dropout}, with which every call makes other tokens; set it to null")
    tokenizer.encode_special_tokens = True  # a special token spelled out in the text is text
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if not text_file.name.isprintable():
        raise BadInput(f"{text_file}: its name, which the token file keeps, has bytes that are no text; rename it")
    documents = read_documents(text_file)
    tokens = [np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype="<i4") for _, text, _, _, _ in documents]
    offsets = np.cumsum([0] + [len(ids) for ids in tokens]).astype("<i8")
    ids, _, words, sizes, groups = zip(*documents)
    fields = {"hash": ZEROS, "tokenizer": xxhash.xxh3_128_hexdigest(file.read_bytes()), "vocab_size": max(tokenizer.get_vocab().values()) + 1,
              "source": text_file.name, "ids": ids, "words": words, "bytes": sizes} | ({"groups": groups} if groups != ids else {})
    header = json.dumps(fields, ensure_ascii=False).encode()
    content = b"".join([b"QROARTOK", struct.pack("<II", 1, len(header)), header, offsets.tobytes()] + [t.tobytes() for t in tokens])
    return content.replace(ZEROS.encode(), xxhash.xxh3_128_hexdigest(content).encode(), 1)


def main():
    description = __doc__.split("\n\nusage")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", metavar="MODEL_FOLDER", type=Path, help="folder with tokenizer.json")
    parser.add_argument("text", metavar="TEXT", type=Path, help=".txt or .jsonl")
    parser.add_argument("out", metavar="OUT", type=Path, help="the token file to write")
    arguments = parser.parse_args()
    stop_in_one_line("tokenize_texts")
    try:
        if arguments.out.exists() and arguments.out.samefile(arguments.text):
            raise BadInput(f"{arguments.out}: is TEXT itself, which would be lost; name another file")
        write_atomically(arguments.out, [encode(arguments.model, arguments.text)])
    except BadInput as error:
        sys.exit(printable(f"tokenize_texts: {error}"))
    except OSError as error:
        sys.exit(printable(f"tokenize_texts: {of_the_system(error, arguments.out)}"))
    print(printable(str(arguments.out)))


if __name__ == "__main__":
    main()
