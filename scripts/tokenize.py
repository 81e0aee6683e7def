#!/usr/bin/env -S sh -c 'exec "${QROAR_VENV:-$(dirname "$0")/../.venv}/bin/python" "$0" "$@"'
"""Tokenize a text with a model folder's tokenizer.json into the program's token file.

usage: scripts/tokenize.py MODEL_FOLDER TEXT OUT

TEXT is a .txt file (one document) or a .jsonl file ({"id", "text"} a line).  OUT has the format of src/data/token_file.h and names
the tokenizer by its hash.  No special token is added, and a special token spelled out in the text is text.
"""
import argparse
import json
import os
import struct
import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).resolve().parent))  # there, tokenize.py hides the standard library's module of that name
import numpy as np
import xxhash
from tokenizers import Tokenizer


class BadInput(Exception):
    """What is wrong with a file, in one line."""


def read_documents(path):
    if path.suffix == ".txt":
        return [(path.name, read_exactly(path))]
    if path.suffix != ".jsonl":
        raise BadInput(f"{path}: neither .txt nor .jsonl")
    documents = []
    for number, line in enumerate(read_exactly(path).rstrip().split("\n"), start=1):
        try:
            document = json.loads(line)
            documents.append((document.get("id", f"{path.stem}:{number}"), document["text"]))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{path}:{number}: not a JSON object with id and text ({error})") from error
    return documents


def read_exactly(path):
    """The text without translating line ends, as the program reads it."""
    return path.read_bytes().decode("utf-8")


def tokenizer_hash(folder):
    """The hash the program takes: of tokenizer.model, or of tokenizer.json where there is none."""
    sentencepiece = folder / "tokenizer.model"
    file = sentencepiece if sentencepiece.exists() else folder / "tokenizer.json"
    return xxhash.xxh3_128_hexdigest(file.read_bytes())


def encode(folder, text_file):
    """The bytes of the token file."""
    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except OSError:
        raise
    except Exception as error:  # tokenizers raises nothing narrower
        raise BadInput(f"{file}: {error}") from error
    tokenizer.encode_special_tokens = True  # a special token spelled out in the text is text
    documents = read_documents(text_file)
    tokens = [np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype="<i4") for _, text in documents]
    offsets = np.cumsum([0] + [len(ids) for ids in tokens]).astype("<i8")
    header = json.dumps({"tokenizer": tokenizer_hash(folder), "vocab_size": tokenizer.get_vocab_size(),
                         "source": text_file.name, "ids": [name for name, _ in documents]}, ensure_ascii=False).encode()
    return b"".join([b"QROARTOK", struct.pack("<II", 1, len(header)), header, offsets.tobytes()] + [t.tobytes() for t in tokens])


def write_atomically(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def main():
    description = __doc__.split("\n\nusage")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", metavar="MODEL_FOLDER", type=Path, help="folder with tokenizer.json")
    parser.add_argument("text", metavar="TEXT", type=Path, help=".txt or .jsonl")
    parser.add_argument("out", metavar="OUT", type=Path, help="the token file to write")
    arguments = parser.parse_args()
    try:
        write_atomically(arguments.out, encode(arguments.model, arguments.text))
    except (BadInput, OSError, UnicodeDecodeError) as error:
        sys.exit(f"tokenize: {error}")
    print(arguments.out)


if __name__ == "__main__":
    main()
