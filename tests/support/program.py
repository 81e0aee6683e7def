"""The program's files as tests see them: small experiments for it to run, the rows it wrote, token files, model folders."""
import copy
import csv
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import xxhash

REPO = Path(__file__).resolve().parents[2]
TINY_BOOKS = REPO / "configs/models/tiny-books"
TEXT = REPO / "tests/support/text.jsonl"
SWEEP = [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2}], "windows.length": [32, 64]}]


def experiment_of(changes):
    """A small experiment of four cells: tiny-books in float32 on the tests' text.  `changes` replace whole values at dotted keys; None
    removes."""
    config = {"model": {"path": str(TINY_BOOKS), "dtype": "float32", "device": "cpu"}, "data": {"path": str(TEXT)},
              "windows": {"length": 64, "truncate": True}, "sweep": copy.deepcopy(SWEEP)}
    for path, value in changes.items():
        *parents, key = path.split(".")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[key]
        else:
            place[key] = value
    return config


def shown_rows(process):
    """{id: row} of `show --format json`, without what stands there beside the rows as they lie in the cells."""
    rows = json.loads(process.stdout)
    for row in rows:
        assert row.pop("labels").keys() == (row["axes"] | row.get("differs", {})).keys() and row.pop("texts").keys() == row["metrics"].keys()
        row.pop("searched", None)
    return {row["id"]: row for row in rows}


def read_rows(results):
    """{id: row} of the cells' row.json files."""
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob("cells/*/row.json"))]
    return {row["id"]: row for row in rows}


def lasting(row):
    """The part of a row that every run of its cell must repeat, bit for bit."""
    costs = ("seconds", "tokens_per_second", "model_tflops_per_second", "peak_bytes")
    times = ("started", "ended", "host")
    kept = {key: value for key, value in row.items() if key not in costs}
    return kept | {"environment": {key: value for key, value in row["environment"].items() if key not in times}}


def read_csv(text):
    return list(csv.DictReader(text.splitlines()))


def litter(folder):
    """Temporary files left behind."""
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def assert_one_line(process, *parts):
    assert process.returncode == 1, (process.returncode, process.stderr)
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1 and process.stderr.endswith("\n"), process.stderr
    for part in parts:
        assert str(part) in process.stderr


def tiny_books_tokenizer_hash():
    return xxhash.xxh3_128_hexdigest((TINY_BOOKS / "tokenizer.model").read_bytes())


def copy_of_tiny_books(folder, **config):
    """A copy whose config.json has some fields changed, or removed where None is given."""
    shutil.copytree(TINY_BOOKS, folder)
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8")) | config
    kept = {name: value for name, value in fields.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return folder


def scale_final_norm(model, factor):
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * factor
    save_file(tensors, model / "model.safetensors")


def read_token_file(path):
    """The header and, per document, the tokens of a file in the format of src/data/token_file.h."""
    content = path.read_bytes()
    version, size = struct.unpack_from("<II", content, 8)
    assert content[:8] == b"QROARTOK" and version == 1
    header = json.loads(content[16:16 + size])
    documents = len(header["ids"])
    offsets = np.frombuffer(content, "<i8", documents + 1, 16 + size)
    tokens = np.frombuffer(content, "<i4", -1, 16 + size + 8 * (documents + 1))
    assert offsets[0] == 0 and offsets[-1] == len(tokens)
    return header, [tokens[begin:end] for begin, end in zip(offsets, offsets[1:])]


def write_token_file(path, tokenizer, documents, vocab_size=4096, **more):
    """documents: {id: tokens}; tokenizer: the hash that the header states, which may have more."""
    header = json.dumps({"tokenizer": tokenizer, "vocab_size": vocab_size, "source": "test", "ids": list(documents)} | more).encode()
    offsets = np.cumsum([0, *map(len, documents.values())], dtype="<i8")
    with open(path, "wb") as file:
        file.write(b"QROARTOK" + struct.pack("<II", 1, len(header)) + header + offsets.tobytes())
        for tokens in documents.values():
            file.write(np.asarray(tokens, dtype="<i4").tobytes())
