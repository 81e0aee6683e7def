"""The sizes of a model (paper/models), and the files of experiments/paper and paper with them filled in; scripts/paper calls it."""
import difflib
import json
import re
from contextlib import contextmanager
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[1]
EXPERIMENTS, PAPER = REPO / "experiments/paper", REPO / "paper"


class CannotMake(Exception):
    """One line that says why and what to do."""


def closest(word, known, kind):
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return CannotMake(f"unknown {kind} '{word}'; {f'did you mean {near[0]}? ' if near else ''}known: {' '.join(known)}")


@contextmanager
def reading(path):
    try:
        yield
    except RecursionError as error:
        raise CannotMake(f"{path}: lists or maps in each other, deeper than anything here needs") from error
    except (yaml.YAMLError, ValueError) as error:  # such as the 13th month
        raise CannotMake(f"{path}: {' '.join(str(error).split())}") from error


def read_yaml(path):
    with reading(path):
        return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_sizes(path, including=()):
    """Returns the sizes of a model's file; `include` names a file beside it whose keys it takes over."""
    sizes = read_yaml(path)
    if not isinstance(sizes, dict):
        raise CannotMake(f"{path}: expected a map of sizes, like paper/models/tiny-books.yaml")
    for name, value in sizes.items():
        try:
            as_yaml(value).encode()
        except TypeError as error:
            raise CannotMake(f"{path}: {name}: YAML reads it as a date or as bytes; write it in quotes") from error
        except ValueError as error:
            raise CannotMake(f"{path}: {name}: holds itself, or half of a character; write it out") from error
    fetch, include = sizes.get("fetch", {}), sizes.pop("include", None)
    if not isinstance(fetch, dict) or not all(isinstance(word, str) for line in fetch.items() for word in line):
        raise CannotMake(f"{path}: fetch: expected a map of FILE: COMMAND; leave fetch out where nothing is to be fetched")
    if include is None:
        return sizes | {"fetch": fetch}
    if not isinstance(include, str) or "\0" in include or not (path.parent / include).is_file():
        raise CannotMake(f"{path}: include: expected the name of a file of sizes, not {include!r}")
    if path.resolve() in including:
        raise CannotMake(f"{path}: include: {include} includes this file again; take one of the two out")
    base = read_sizes(path.parent / include, (*including, path.resolve()))
    return base | sizes | {"fetch": base["fetch"] | fetch}


def find_sizes(model):
    """Returns (name, sizes) of a model or a file of sizes."""
    known = {path.stem: path for path in sorted((PAPER / "models").glob("*.yaml"))}
    path = Path(model) if model.endswith(".yaml") else known.get(model)
    if path is None:
        raise closest(model, known, "model")
    if not path.is_file():
        raise CannotMake(f"{path}: no such file; write one like paper/models/tiny-books.yaml")
    sizes, names = read_sizes(path), read_yaml(known["llama2-7b"])
    lacking = [name for name in names if name not in sizes]
    if lacking:
        raise CannotMake(f"{path}: lacks {', '.join(lacking)}; paper/models/llama2-7b.yaml says what a file of sizes has")
    for name in sizes:
        if name not in names:
            raise CannotMake(f"{path}: {closest(str(name), names, 'size')}")
    if not isinstance(sizes["model"], dict):
        raise CannotMake(f"{path}: model: expected a map, such as {{path: models/mine, dtype: bfloat16}}")
    if not isinstance(sizes["of_the_papers"], bool):
        raise CannotMake(f"{path}: of_the_papers: expected true or false, not {sizes['of_the_papers']!r}; it says which verdicts compare numbers")
    for name in ("shortest", "longest"):
        if isinstance(sizes["lengths"], list) and sizes[name] not in sizes["lengths"]:
            raise CannotMake(f"{path}: {name}: {sizes[name]!r} is none of lengths {sizes['lengths']}, of which claims take their rows")
    return path.stem, sizes


def as_yaml(value):
    """Returns a value as JSON, which is YAML but for its escapes of characters beyond 16 bits: these stand as they are."""
    return json.dumps(value, ensure_ascii=False)


def anchored(text, names):
    """Returns (begin, end, name) of the values in YAML text that have an anchor of these names, in order."""
    open_, found = [], []
    for event in yaml.parse(text):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(event)
        elif isinstance(event, (yaml.CollectionEndEvent, yaml.ScalarEvent)):
            begin = event if isinstance(event, yaml.ScalarEvent) else open_.pop()
            if begin.anchor in names:
                found.append((begin.start_mark.index, event.end_mark.index, begin.anchor))
    return found


def with_own_draws(sizes):
    """Returns the sizes with the rounding draws of full precision: in 16 bits a draw rounds the weights anew, so that what is quantized can be compared
    with full precision in the same draws alone; in float32 all draws are one function, and one is enough."""
    return sizes | {"full_precision_draws": [0] if sizes["model"].get("dtype") == "float32" else sizes["draws"]}


def filled(file, sizes):
    """Returns the text of a file of experiments/paper, which has Llama-2-7B's sizes, with the model's in the place of values with these anchors."""
    sizes = with_own_draws(sizes)
    with reading(file):
        text = file.read_text(encoding="utf-8")
        for begin, end, name in reversed(anchored(text, sizes)):
            text = f"{text[:begin]}&{name} {as_yaml(sizes[name])}{text[end:]}"
    return text


def with_note(text, note):
    """Puts a note behind the head comment, which is the question of the report."""
    head = re.match(r"(#.*\n)*", text).end()
    return text[:head] + note + text[head:]
