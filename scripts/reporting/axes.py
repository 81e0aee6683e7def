"""Assigns a sweep's axes to the parts of a figure: x, panels, lines.  The labels of their values come from `qroar show`."""

import json

from .configured import block_of, number_at
from .labels import compact, in_order

LENGTH = "windows.length"
MOST_LINES = 21  # number of colours and markers times kinds of dashes
ALWAYS_SAID = ("rope", "quant", "kv", "rotation", "rescale")  # by colour, marker or title, though another axis may tell them, too
AXIS_NAMES = {LENGTH: "window length (tokens)", "quant": "quantizer", "rope": "RoPE scheme"}


def find(value, key):
    """Returns the first entry under `key` in a nested value, else None."""
    if isinstance(value, dict) and key in value:
        return value[key]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for found in (find(item, key) for item in inner) if found is not None), None)


def key_of(value):
    """Returns a value as text; 8 is 8.0, as configurations have it."""
    return json.dumps(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


class Axis:
    """A sweep axis: its values in reading order under unique labels.  A row of a block that does not sweep it has its configuration's value, where all
    rows have one."""

    def __init__(self, name, rows):
        self.name = name
        self.fixed = {row["id"]: place for row in rows if name not in row["axes"] if (place := self.configured(row)) is not None}
        everywhere = all(name in row["axes"] or row["id"] in self.fixed for row in rows)  # false where controls of a search or other blocks lack it
        if not everywhere:
            self.fixed = {}
        swept = [row for row in rows if name in row["axes"]]
        values = {key_of(row["axes"][name]): row["axes"][name] for row in swept}
        called = {key_of(row["axes"][name]): row["labels"][name] for row in swept}
        for value, label in self.fixed.values():
            if list(called.values()).count(label) != 1:
                values[key_of(value)], called[key_of(value)] = value, label
        ordered = sorted(values.items(), key=lambda item: self.rank(item[1], called[item[0]]))
        labels = [called[text] for text, _ in ordered]
        self.label_of = {text: text if labels.count(name) > 1 else name for (text, _), name in zip(ordered, labels)}
        self.labels = list(self.label_of.values())
        self.title = AXIS_NAMES.get(name, name)
        numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values.values())
        self.blocks = name in ALWAYS_SAID or any(isinstance(value, (dict, list)) for value in values.values())
        self.numbers = {self.label_of[text]: value for text, value in ordered} if numeric and everywhere else None
        self.varies = len(self.labels) + (not everywhere) > 1

    def configured(self, row):
        """Returns (value, label) of a row that does not sweep the axis; None where its configuration has no such value."""
        if label := row.get("configured", {}).get(self.name):
            return block_of(row, self.name), label
        number = number_at(row.get("config"), self.name)
        return None if number is None else (number, f"{number:g}" if isinstance(number, float) else str(number))

    @staticmethod
    def rank(value, label):
        """Sorts none first, numbers by size, plugins by name and descending bits."""
        if isinstance(value, (int, float)):
            return (1, value, 0, [])
        kind = find(value, "type") or ("none" if value in ([], None) else str(value))
        return (0 if kind == "none" else 2, kind, -(find(value, "bits") or 0), in_order(compact(label)) + in_order(label))

    def said(self, text):
        """Returns a label for use without the axis' title: a scalar gets its key ("points=5")."""
        return text if self.blocks or not text else f"{self.name.rsplit('.', 1)[-1]}={text}"

    def of(self, row):
        if self.name in row["axes"]:
            return self.label_of[key_of(row["axes"][self.name])]
        value, label = self.fixed.get(row["id"], ("", ""))
        return self.label_of.get(key_of(value), label)


class Layout:
    """The axis along x (None: no numeric axis varies), the axis of panels, the axes of lines, and the axis of the table's columns."""

    def __init__(self, rows):
        # Diagnostics change no number of a cell.
        names = dict.fromkeys(name for row in rows for name in row["axes"] if name != "diagnostics")
        self.axes = [Axis(name, rows) for name in names]
        varying = [axis for axis in self.axes if axis.varies]
        numeric = sorted((axis for axis in varying if axis.numbers), key=lambda axis: axis.name != LENGTH)
        self.x = numeric[0] if numeric else None
        for axis in varying:
            axis.varies = axis is self.x or axis.name in ALWAYS_SAID or not self.told(axis, rows)
        self.said = [axis for axis in self.axes if axis.varies or axis not in varying]  # in a row's name: what the place along x tells is no part of it
        rest = [axis for axis in varying if axis.varies and axis is not self.x]
        lines = lambda panel: len({tuple(axis.of(row) for axis in rest if axis is not panel) for row in rows})  # noqa: E731
        self.panel = min(rest, key=lambda axis: (lines(axis) > MOST_LINES, len(axis.labels))) if self.x and len(rest) > 1 else None
        if not self.x:
            self.panel = next((axis for axis in varying if axis.name == "data"), None)
        self.across = self.x or self.panel
        self.lines = [axis for axis in rest if axis is not self.panel]

    def told(self, axis, rows):
        """Returns whether the place along x tells the value of an axis, such as a text that is padded to each length."""
        return self.x is not None and len({(self.x.of(row), axis.of(row)) for row in rows}) == len(self.x.labels)

    def groups(self, rows, axes):
        """Returns (labels, rows) for every occurring combination of the axes' values, in order."""
        groups = {}
        for row in rows:
            groups.setdefault(tuple(axis.of(row) for axis in axes), []).append(row)
        place = lambda key: [axis.labels.index(text) if text else -1 for axis, text in zip(axes, key)]  # noqa: E731
        return sorted(groups.items(), key=lambda item: place(item[0]))


def joined(axes, labels):
    """Returns the labels of several axes in one: "rtn W3 g64 · points=5"."""
    return " · ".join(axis.said(text) for axis, text in zip(axes, labels) if text)
