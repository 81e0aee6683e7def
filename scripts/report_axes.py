"""What a sweep's axes and their values are called in a report, and how they share out a figure: along x, as panels, as lines."""
import json
import re
from pathlib import Path

LENGTH = "windows.length"
MOST_LINES = 21  # colours and markers times kinds of dashes
TYPE_ORDER = ["none", "linear", "ntk", "dynamic_ntk", "ntk_by_parts", "yarn", "dynamic_yarn", "longrope", "llama3", "model",
              "rtn", "awq", "gptq", "hqq", "smoothquant", "nf4", "fp4", "fp8", "mxfp4", "nvfp4"]
AXIS_NAMES = {LENGTH: "window length (tokens)", "quant": "quantizer", "rope": "RoPE scheme"}


def label(value, operand="W"):
    """What tables and plots call the value of an axis: "yarn", "linear ×2", "rtn W4 g64", "none", "4096"."""
    if isinstance(value, list):
        return " + ".join(label(item) for item in value) or "none"
    if isinstance(value, str):
        return value if value.isprintable() else json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict):
        return f"{value:g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, bool) else str(value)
    if "weight" in value or "input" in value:  # a rule of `quant`
        parts = [label(value[part], letter) for part, letter in (("weight", "W"), ("input", "A")) if part in value]
        return ", ".join(part for part in parts if part != "none") or "none"
    if value.get("type") == "bands":
        return bands_label(value)
    words = [str(value["type"])] if value.get("type", "multiple_choice") != "multiple_choice" else []  # whose file says what it is
    for key, entry in value.items():
        if key == "bits":
            words.append(f"{operand}{entry}")
        elif key == "pad":
            words.append(f"padded to {entry.get('tokens')}")
        elif key == "path":
            words.append(Path(entry).stem)
        elif key == "group":
            words.append({0: "per row", -1: "per tensor"}.get(entry, f"g{entry}"))
        elif key == "factor" and entry != "auto":
            words.append(f"×{label(entry)}")
        elif key not in ("type", "factor", "prompt"):
            words.append(f"{key}={label(entry, {'key': 'K', 'value': 'V', 'query': 'Q'}.get(key, operand))}")
    return " ".join(words)


def bands_label(block):
    """"shared ×6 searched (cma_es)": the block `rescale` without what says little in a table."""
    words = [block.get("variant", "shared")]
    words += [f"×{block['bands']}"] if "bands" in block else [f"edges {block['edges']}"] if "edges" in block else []
    words += ["per layer"] if block.get("per_layer") else []
    words += [label(block[key]) for key in ("scales", "file") if key in block]
    if "search" in block:
        words.append("searched")
        words += [f"({label(block['search']['strategy'])})"] if "strategy" in block["search"] else []
        points = block["search"].get("grid", {}).get("points")
        words += [f"points={points}"] if points else []
    return " ".join(words)


def find(value, key):
    """The first entry under `key` in a nested value, else None."""
    if isinstance(value, dict) and key in value:
        return value[key]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for found in (find(item, key) for item in inner) if found is not None), None)


class Axis:
    """A sweep axis: its values in reading order under unique labels."""

    def __init__(self, name, rows):
        self.name = name
        values = {json.dumps(row["axes"][name]): row["axes"][name] for row in rows if name in row["axes"]}
        ordered = sorted(values.items(), key=lambda item: self.rank(item[1]))
        labels = [label(value) for _, value in ordered]
        self.label_of = {text: text if labels.count(name) > 1 else name for (text, _), name in zip(ordered, labels)}
        self.labels = list(self.label_of.values())
        self.title = AXIS_NAMES.get(name, name)
        numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values.values())
        self.blocks = any(isinstance(value, (dict, list)) for value in values.values())
        everywhere = all(name in row["axes"] for row in rows)  # not in controls of a search, nor in other blocks of the sweep
        self.numbers = {self.label_of[text]: value for text, value in ordered} if numeric and everywhere else None
        self.varies = len(self.labels) + (not everywhere) > 1

    @staticmethod
    def rank(value):
        """none first, numbers by size, plugins in TYPE_ORDER and by falling bits."""
        if isinstance(value, (int, float)):
            return (1, value, 0, [])
        kind = find(value, "type") or ("none" if value in ([], None) else str(value))
        place = TYPE_ORDER.index(kind) if kind in TYPE_ORDER else len(TYPE_ORDER)
        words = [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", label(value))]
        return (0 if kind == "none" else 2, place, -(find(value, "bits") or 0), words)

    def said(self, text):
        """A label as it stands apart from the axis' title: a scalar gets its key ("points=5")."""
        return text if self.blocks or not text else f"{self.name.rsplit('.', 1)[-1]}={text}"

    def of(self, row):
        return self.label_of[json.dumps(row["axes"][self.name])] if self.name in row["axes"] else ""


class Layout:
    """Which axis runs along x (None: no axis of numbers varies), which makes panels, which are lines, and which the table has across."""

    def __init__(self, rows):
        # What a cell is looked at with changes none of its numbers.
        names = dict.fromkeys(name for row in rows for name in row["axes"] if name != "diagnostics")
        self.axes = [Axis(name, rows) for name in names]
        varying = [axis for axis in self.axes if axis.varies]
        numeric = sorted((axis for axis in varying if axis.numbers), key=lambda axis: axis.name != LENGTH)
        self.x = numeric[0] if numeric else None
        rest = [axis for axis in varying if axis is not self.x]
        lines = lambda panel: len({tuple(axis.of(row) for axis in rest if axis is not panel) for row in rows})  # noqa: E731
        self.panel = min(rest, key=lambda axis: (lines(axis) > MOST_LINES, len(axis.labels))) if self.x and len(rest) > 1 else None
        if not self.x:
            self.panel = next((axis for axis in varying if axis.name == "data"), None)
        self.across = self.x or self.panel
        self.lines = [axis for axis in rest if axis is not self.panel]

    def groups(self, rows, axes):
        """(labels, rows) of every combination of the axes' values that occurs, in order."""
        groups = {}
        for row in rows:
            groups.setdefault(tuple(axis.of(row) for axis in axes), []).append(row)
        place = lambda key: [axis.labels.index(text) if text else -1 for axis, text in zip(axes, key)]  # noqa: E731
        return sorted(groups.items(), key=lambda item: place(item[0]))


def joined(axes, labels):
    """"rtn W3 g64 · points=5": labels of several axes in one."""
    return " · ".join(axis.said(text) for axis, text in zip(axes, labels) if text)
