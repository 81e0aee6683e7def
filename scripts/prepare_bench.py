#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""Write a benchmark's questions as the lines that the tasks of configs/tasks/ read: NAME.jsonl in data/bench.

usage: scripts/prepare_bench.py NAME|all [--source FILE] [--labels FILE] [--out FOLDER]

NAME: arc_easy, arc_challenge, hellaswag, piqa, winogrande, boolq or longbench_SUBSET (longbench_hotpotqa ...); all: the first six.
Questions come from --source (.jsonl, .jsonl.xz, .jsonl.gz), else from $QROAR_DATA/bench/NAME.jsonl.xz where QROAR_DATA is set, else from
the evaluation split on the Hugging Face hub (needs a network).  They are in the format of the release or of the
hub; lines already in our format are checked and kept unchanged.  --labels: PIQA's labels, one per line, where they are in a separate file.
Questions are converted as the lm-evaluation-harness task of that name does.
"""
import argparse
import json
import os
import re
import sys
from pathlib import Path

from json_lines import (HUB, BadInput, field, hub_rows, id_of, of_the_system, printable, read_rows, read_text, shortened, stop_in_one_line, whole,
                        write_atomically)

HERE = Path(__file__).resolve().parent


def texts(place, row, name):
    values = field(place, row, name, list)
    if not all(isinstance(value, str) for value in values):
        raise BadInput(f'{place}: "{name}" is {shortened(values)}, not a list of texts')
    return [whole(place, name, value) for value in values]


def position(place, row, name, labels):
    """Returns the index of the field's value among the labels, which may be numbers or numbers in quotes."""
    if name not in row:
        raise BadInput(f'{place}: no "{name}"; the evaluation splits have one, some test splits do not')
    if isinstance(row[name], bool) or str(row[name]) not in labels:
        raise BadInput(f'{place}: "{name}" is {shortened(row[name])}, not one of {", ".join(labels)}; is the question whole?')
    return labels.index(str(row[name]))


def numbered(choices):
    return [str(number) for number in range(len(choices))]


def arc(place, row):
    if isinstance(row.get("question"), dict):  # the release's format; the hub has an object of lists instead of the list
        query = field(place, row["question"], "stem")
        listed = field(place, row["question"], "choices", list)
        if not all(isinstance(choice, dict) for choice in listed):
            raise BadInput(f'{place}: "choices" is {shortened(listed)}, not a list of objects')
        choices, labels = ([field(place, choice, name) for choice in listed] for name in ("text", "label"))
    else:
        query, lists = field(place, row, "question"), field(place, row, "choices", dict)
        choices, labels = texts(place, lists, "text"), texts(place, lists, "label")
    return {"query": query, "choices": choices, "label": position(place, row, "answerKey", labels)}


def hellaswag_cleaned(text):
    """Removes the remains of WikiHow's titles and other brackets, as lm_eval/tasks/hellaswag/utils.py does."""
    text = re.sub(r"\[[^\]\n]*(\])?", lambda match: "" if match[1] else match[0], text.strip().replace(" [title]", ". "))  # without search behind each [
    return text.replace("  ", " ")


def hellaswag(place, row):
    context = f'{field(place, row, "ctx_a")} {field(place, row, "ctx_b").capitalize()}'
    endings = texts(place, row, "endings")
    return {"query": hellaswag_cleaned(f'{field(place, row, "activity_label")}: {context}'),
            "choices": [hellaswag_cleaned(ending) for ending in endings], "label": position(place, row, "label", numbered(endings))}


def piqa(place, row):
    choices = [field(place, row, "sol1"), field(place, row, "sol2")]
    return {"query": field(place, row, "goal"), "choices": choices, "label": position(place, row, "label", numbered(choices))}


def winogrande(place, row):
    return {"sentence": field(place, row, "sentence"), "choices": [field(place, row, "option1"), field(place, row, "option2")],
            "label": position(place, row, "answer", ["1", "2"])}


def boolq(place, row):
    return {"passage": field(place, row, "passage"), "query": field(place, row, "question"), "choices": ["no", "yes"],
            "label": int(field(place, row, "answer", bool))}


def longbench(place, row):
    return {name: field(place, row, name) for name in ("input", "context")} | {"answers": texts(place, row, "answers")}


CHOICE = ("query", "choices", "label")
ARC = {"path": "allenai/ai2_arc", "split": "test"}
# Name: (the format's function, its field of the id, the fields of our format, the dataset on the hub)
BENCHES = {
    "arc_easy": (arc, "id", CHOICE, ARC | {"name": "ARC-Easy"}),
    "arc_challenge": (arc, "id", CHOICE, ARC | {"name": "ARC-Challenge"}),
    "hellaswag": (hellaswag, "ind", CHOICE, {"path": "Rowan/hellaswag", "split": "validation"}),
    "piqa": (piqa, "id", CHOICE, {"path": "baber/piqa", "split": "validation"}),
    "winogrande": (winogrande, "qID", ("sentence", "choices", "label"), {"path": "allenai/winogrande", "name": "winogrande_xl", "split": "validation"}),
    "boolq": (boolq, "id", ("passage", "query", "choices", "label"), {"path": "google/boolq", "split": "validation"}),
}
LONGBENCH = f"{HUB}/datasets/THUDM/LongBench/resolve/main/data.zip"


def bench_of(name):
    if name.startswith("longbench_"):
        files = {"test": f'zip://data/{name.removeprefix("longbench_")}.jsonl::{LONGBENCH}'}
        return longbench, "_id", ("id", "input", "context", "answers"), {"path": "json", "data_files": files, "split": "test"}
    if name not in BENCHES:
        raise BadInput(f"no benchmark '{name}'; known: {', '.join(BENCHES)}, longbench_SUBSET, all")
    return BENCHES[name]


def checked(place, row):
    """Checks what the tasks require of every question."""
    for name in ("query", "sentence", "passage", "input", "context"):
        if name in row:
            field(place, row, name)
    if "answers" in row:
        if not texts(place, row, "answers"):
            raise BadInput(f'{place}: "answers" is empty; give at least one')
        return row
    choices = texts(place, row, "choices")
    if len(choices) < 2:
        raise BadInput(f'{place}: {len(choices)} choices; at least 2')
    if type(row["label"]) is not int or not 0 <= row["label"] < len(choices):
        raise BadInput(f'{place}: "label" is {shortened(row["label"])}, and the {len(choices)} choices are counted from 0')
    return row


def lines_of(name, source, labels):
    """Yields the bytes of every line."""
    convert, id_field, ours, where = bench_of(name)
    number = 0
    for number, (place, line, row) in enumerate(read_rows(source) if source else ((place, "", row) for place, row in hub_rows(**where)), start=1):
        if labels is not None:
            if number > len(labels):
                continue  # to count them
            row = labelled(place, row, labels[number - 1])
        if all(key in row for key in ours):
            checked(place, row)
            yield line.encode() if line.endswith("\n") else f"{line}\n".encode()
        else:
            question = checked(place, {"id": id_of(place, {"id": row.get(id_field)}, f"{name}:{number}")} | convert(place, row))
            yield f"{json.dumps(question, ensure_ascii=False)}\n".encode()
    if number == 0:
        raise BadInput(f"{source or name}: holds no questions; give a file with some")
    if labels is not None and len(labels) != number:
        raise BadInput(f"{source}: {number} questions and {len(labels)} labels; do the files belong together?")


def labelled(place, row, label):
    if "label" in row:
        raise BadInput(f"{place}: has a label of its own; leave --labels out")
    return row | {"label": label}


def prepare(name, arguments):
    source = arguments.source
    if source is None and "QROAR_DATA" in os.environ:
        source = Path(os.environ["QROAR_DATA"]) / f"bench/{name}.jsonl.xz"
    labels = read_text(arguments.labels).split() if arguments.labels else None
    out = arguments.out / f"{name}.jsonl"
    count = write_atomically(out, lines_of(name, source, labels))
    print(printable(f"{out}: {count} questions from {source or 'the hub'}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("name", metavar="NAME", help="a benchmark, or all")
    parser.add_argument("--source", type=Path, help="a local copy (.jsonl, .jsonl.xz, .jsonl.gz)")
    parser.add_argument("--labels", type=Path, help="PIQA's labels, one a line")
    parser.add_argument("--out", type=Path, default=HERE.parent / "data/bench", help="folder to write to (default: data/bench)")
    arguments = parser.parse_args()
    stop_in_one_line("prepare_bench")
    try:
        if arguments.name == "all" and arguments.source:
            raise BadInput("--source is for one benchmark, not for all of them; name it")
        if arguments.labels and not (arguments.name == "piqa" and arguments.source):
            raise BadInput("--labels is for piqa with --source; leave it out")
        for name in BENCHES if arguments.name == "all" else [arguments.name]:
            prepare(name, arguments)
    except BadInput as error:
        sys.exit(printable(f"prepare_bench: {error}"))
    except OSError as error:
        sys.exit(printable(f"prepare_bench: {of_the_system(error, arguments.out)}"))


if __name__ == "__main__":
    main()
