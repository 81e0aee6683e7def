"""What a report is made from: rows, differences and interactions as `qroar show` computes them, and the files beside the rows."""

import csv
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .axes import Layout
from .configured import name_blocks
from .points import QUANTIZERS, SCHEME, Places, controls

SCRIPTS = Path(__file__).resolve().parents[1]
TABLES = (".csv", ".dat", ".tex")  # of a target of scripts/paper: these, scripts/publish copies
HASHES = "rows.sha256"  # of the rows that tables and pages of scripts/paper were made from
LOGARITHM_OF = {"nll": "perplexity"}  # only the latter is shown
BASELINES = ("quant", "kv", "rescale", "rope")


def program():
    built = sorted(SCRIPTS.parent.glob("build/*/qroar"), key=lambda path: path.stat().st_mtime)
    beside = [SCRIPTS.parent / "qroar"]  # in a submission's folder (scripts/slurm/submit)
    named = [Path(os.environ["QROAR_BINARY"])] if "QROAR_BINARY" in os.environ else []
    found = [path for path in named or beside + built[::-1] if path.is_file()]
    return found[0] if found else sys.exit("report: no program; run scripts/build, or name one in QROAR_BINARY")


def asked(folder, *options):
    """Returns what `show` prints, and its line of error where it cannot."""
    try:
        process = subprocess.run([program(), "show", Path(folder).absolute(), *options], capture_output=True, encoding="utf-8", check=False)
    except OSError as error:
        sys.exit(f"report: {program()}: {error.strerror}; run scripts/build, or name a program in QROAR_BINARY")
    return process.stdout, process.stderr.strip() if process.returncode != 0 else ""


def show(folder, *options):
    text, error = asked(folder, *options)
    if error:
        sys.exit(f"report: {error}")
    return text


def visible(value):
    """Returns a value of JSON whose texts have escapes in the place of characters that move a cursor, turn the direction of text, or end a line."""
    if isinstance(value, str):
        hidden = lambda one: unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")  # noqa: E731
        return "".join(one.encode("unicode_escape").decode() if hidden(one) else one for one in value)
    if isinstance(value, list):
        return [visible(one) for one in value]
    return {visible(key): visible(one) for key, one in value.items()} if isinstance(value, dict) else value


def planned_cells(folder):
    """Returns the ids of the cells of a folder's plan; ValueError says in one line why there are none."""
    path = folder / "plan.json"
    try:
        cells = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: is not the plan that the program writes; `qroar run` writes it again") from error
    if not all(isinstance(cell, str) and re.fullmatch(r"\w+", cell) for cell in cells):
        raise ValueError(f"{path}: names cells that are no ids; `qroar run` writes it again")
    return cells


def hash_of_rows(folder):
    """Returns the SHA-256 of the rows of a folder's plan, by which what was made from them is told from what was made from others."""
    total = hashlib.sha256()
    for cell in planned_cells(folder):
        total.update((folder / "cells" / cell / "row.json").read_bytes())
    return total.hexdigest()


def read_rows(folder, options):
    """Returns the rows, with the values that distinguish them but are not axes added to their axes."""
    rows = visible(json.loads(show(folder, "--format", "json", *options)))
    for row in rows:
        row["axes"] |= row.pop("differs", {})
        row["texts"] = {name: measured(row["metrics"].get(name) or {}, text) for name, text in row["texts"].items()}
    return name_blocks(sorted(rows, key=lambda row: row["id"]))


def read_caption(folder, options):
    """Returns the lines under the table of `show`; failed cells have their own section."""
    parts = show(folder, "--format", "markdown", *options).split("\n\n")
    caption = next(part for part in parts if "\n|" not in f"\n{part}")
    return [visible(line) for line in caption.splitlines() if not line.startswith("failed ")]


def not_publishable(rows):
    """Returns why these numbers do not come from one commit and so are not reproducible; mostly ""."""
    commits = sorted({row["environment"].get("commit", "unknown") for row in rows})
    dirty = [commit for commit in commits if commit.endswith("-dirty")]
    if dirty:
        return f"made from a tree with uncommitted changes (commit {', '.join(dirty)})"
    return f"made from several commits (commit {', '.join(commits)})" if len(commits) > 1 else ""


def damaged(path, error, remedy="run the cell again (`qroar run --rerun`)"):
    sys.exit(f"report: {path}: {error}; {remedy}")


def read_csv(path, make):
    """Returns make(lines) of a table of a cell, where each line is {column: text}; a table that it cannot be made of ends the program."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return make(list(csv.DictReader(file)))
    except KeyError as error:
        damaged(path, f"has no column {error}")
    except (ValueError, TypeError, AttributeError, IndexError, ZeroDivisionError, csv.Error) as error:
        damaged(path, f"is not the table that the program writes ({str(error).splitlines()[0]})")


def level(row, axis):
    """Returns the label of an axis; of one that this row's block does not sweep, "none" where its configuration says so."""
    return row["labels"].get(axis) or ("none" if row["config"].get(axis) in ([], {"type": "none"}) else "")


def metrics_of(rows):
    """Returns the metrics that are shown; accuracies by length are in their task's heat map."""
    names = dict.fromkeys(name for row in rows for name in row["metrics"])
    return [name for name in names if LOGARITHM_OF.get(name) not in names and not re.search(r"/accuracy_\d+$", name)]


def metric_title(metric, most=24):
    """Returns what the axis of a metric is called, with its unit; at most 24 characters."""
    name = metric.rsplit("/", 1)[-1]
    if last := re.fullmatch(r"nll_last_(\d+)", name):
        return f"NLL, last {last[1]} (nats)"
    return {"nll": "NLL (nats per token)"}.get(name, name[:most])


def measured(entry, text):
    """Returns a metric with its interval, to two digits of the interval's half and one decimal at least, by which rows of the same documents are told
    apart; text: what `show` says, where there is none."""
    value, low, high = (entry.get(name) for name in ("value", "low", "high"))
    if None in (value, low, high):
        return text
    digits = max(1, digits_of(low, high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def digits_of(low, high):
    return min(9, max(0, 1 - math.floor(math.log10((high - low) / 2) + 1e-9))) if high > low else 4


def said(effect, digits=4):
    value = effect.get("difference", effect.get("value"))
    if value == effect.get("stderr") == 0:
        return "equal"
    if value is None:
        return effect.get("reason", "")
    text = f"{value:+.{digits}f}"
    if effect.get("low") is not None:
        text += f" [{effect['low']:+.{digits}f}, {effect['high']:+.{digits}f}]"
    return text + "*" * bool(effect.get("survives"))


def compared(effects):
    """Returns those of a table's effects among which Benjamini and Hochberg's procedure tells survivors: all but those of rows that computed the same."""
    return [one for one in effects if one.get("p_value") is not None]


def differences(row):
    """Returns {metric: difference} of a paired row: of the mean NLL, and of tasks; of both there is no other as plain."""
    paired = row.get("paired", {})
    tasks = {name: entry for name, entry in paired.get("tasks", {}).items() if "/" in name and "/accuracy_" not in name}
    return {name: entry for name, entry in ({"nll": paired.get("nll")} | tasks).items() if entry and entry.get("difference") is not None}


@dataclass
class Findings:
    """What `qroar show` says of a results folder; differences and interactions are asked for when they are needed."""

    results: Path
    options: list
    rows: list  # means over rounding draws
    cells: list  # the draws
    caption: list

    @classmethod
    def of(cls, results, options):
        return cls(results, options, read_rows(results, options), read_rows(results, [*options, "--draws"]), read_caption(results, options))

    def in_order(self, rows):
        """Returns the finished ones of rows in reading order."""
        rows = [row for row in rows if row["status"] == "ok"]
        layout = Layout(rows)
        return [row for _, group in layout.groups(rows, layout.axes) for row in group]

    @cached_property
    def finished(self):
        return self.in_order(self.rows)

    @cached_property
    def failed(self):
        return [row for row in self.rows if row["status"] != "ok"]

    @cached_property
    def hidden(self):
        return controls(self.finished)

    @cached_property
    def shown(self):
        """The rows that have a place of their own: all but a search's controls."""
        return [row for row in self.finished if row["id"] not in self.hidden] or self.finished

    @cached_property
    def places(self):
        return Places(self.shown)

    @cached_property
    def by_cell(self):
        return by_cell(self.finished)

    @cached_property
    def paired(self):
        """{axis: rows with their differences from AXIS=none} of the axes that have a row without anything to compare with."""
        axes = [axis for axis in BASELINES if {"none"} < {level(row, axis) for row in self.finished if level(row, axis)}]
        return {axis: self.in_order(read_rows(self.results, [*self.options, "--baseline", f"{axis}=none"])) for axis in axes}

    @cached_property
    def interactions(self):
        """{(scheme, axis): effects} for each way to quantize that varies with the scheme; for effects stands why there are none, where `show` cannot tell."""
        levels = lambda axis: {row["labels"][axis] for row in self.finished if axis in row["labels"]}  # noqa: E731
        in_config = lambda axis: any(axis in row["config"] and axis not in row["axes"] for row in self.finished)  # noqa: E731
        varies = lambda axis: len(levels(axis)) + (bool(levels(axis)) and in_config(axis)) > 1  # noqa: E731
        pairs = [(SCHEME, axis) for axis in QUANTIZERS if varies(SCHEME) and varies(axis)]
        found = {pair: asked(self.results, "--interaction", ",".join(pair), "--format", "json", *self.options) for pair in pairs}
        return {pair: visible(error or json.loads(text)) for pair, (text, error) in found.items()}

    @cached_property
    def trained(self):
        """The length that the rows' model was trained on; None where they differ."""
        lengths = {row["environment"].get("trained_length") for row in self.finished}
        return lengths.pop() if len(lengths) == 1 else None

    def folder(self, row):
        return self.results / "cells" / row["id"]


def searches_of(row):
    """Returns {cell: what its search found} of a row's rounding draws, where they differ, or its own."""
    own = {row["id"]: row["search"]} if row.get("search") else {}
    return {draw["id"]: draw["search"] for draw in row.get("draws", []) if draw.get("search")} or own


def cells_of(row):
    """Returns the ids of the cells of a row: of its rounding draws, or its own."""
    return [draw["id"] for draw in row.get("draws", [])] or [row["id"]]


def by_cell(rows):
    return {cell: row for row in rows for cell in cells_of(row)}
