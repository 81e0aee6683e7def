"""The effects that the papers' claims are about, from what `qroar show` says of finished targets.

An effect is a value with its 95 % interval, and whether it survives among all comparisons of its table.  Two effects that `show` cannot pair (of
two lengths, of two parts of a window) are subtracted end from end: such an interval is too wide and never too narrow, whatever the two have
in common.  Means over benchmarks, which share no question, add up the squares of how far the ends of their intervals are (Zou and Donner 2008), each
side by itself; over rounding draws, which move all of them, how far the ends are, which is too wide, too.  Neither is a comparison of `show`; each is put among those of the table that it comes from.
"""
import csv
import math
from dataclasses import dataclass
from functools import cache

from reporting.rows import cells_of, searches_of


class Unknown(Exception):
    """Why there is no effect."""


@dataclass
class Effect:
    value: float
    low: float | None = None
    high: float | None = None
    survives: bool = True
    draws: int | None = None  # rounding draws that it is over; None where it has none

    def scaled(self, factor):
        ends = [None if end is None else end * factor for end in (self.low, self.high)]
        return Effect(self.value * factor, *(ends if factor > 0 else ends[::-1]), self.survives, self.draws)

    def p_value(self):
        """Returns the probability of such an effect where there is none, by the normal law and the end of the interval that is nearer to 0."""
        reach = self.value - self.low if self.value > 0 else self.high - self.value
        return math.erfc(1.959964 * abs(self.value) / reach / math.sqrt(2)) if reach > 0 else float(self.value == 0)

    def less(self, other):
        known = None not in (self.low, other.high)
        return Effect(self.value - other.value, *((self.low - other.high, self.high - other.low) if known else (None, None)), draws=self.draws)

    def over(self, other):
        if other.value == 0:
            raise Unknown("what it is divided by is 0")
        known = None not in (self.low, other.low) and other.low > 0
        ends = [mine / its for mine in (self.low, self.high) for its in (other.low, other.high)] if known else [None]
        return Effect(self.value / other.value, *((min(ends), max(ends)) if known else (None, None)))


@dataclass
class Share(Effect):
    """A share of places: so many of those with an interval."""

    apart: int = 0
    known: int = 0
    unknown: int = 0


class Target:
    """The rows of a finished target, and its effects."""

    def __init__(self, name, folder, show):
        self.name, self.folder = name, folder
        self.ask = cache(lambda *options: show(name, *options))
        self.rows = self.ask()

    def find(self, wanted, entries=None):
        """Returns the entry whose axes, or else configuration, have the wanted values; of several the one with the fewest axes beside them."""
        found = [entry for entry in entries or self.rows if all(self.at(entry, axis) == value for axis, value in wanted.items())]
        found.sort(key=lambda entry: len(entry["axes"]))
        if not found:
            raise Unknown(f"{self.name} has no row {wanted}")
        if len(found) > 1 and len(found[0]["axes"]) == len(found[1]["axes"]):
            raise Unknown(f"{self.name} has several rows {wanted}")
        return found[0]

    def at(self, entry, axis):
        if axis in entry["axes"]:
            return entry["axes"][axis]
        value = entry.get("config") or next(row["config"] for row in self.rows if row["id"] == entry["id"])
        for key in axis.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def p_values(self, claim):
        """Returns those of all comparisons of the table that a claim's effects come from; none where they are no comparisons."""
        shown = {"paired": lambda: self.ask("--baseline", self.find(claim["against"])["id"]), "interaction": lambda: self.interactions(claim)}
        found = []
        for entry in shown.get(claim["compare"], list)():
            pair = entry.get("paired") or {}
            found += [one.get("p_value") for one in (entry, pair.get("nll") or {}, *pair.get("tasks", {}).values())]
        return [p for p in found if p is not None]

    def paired(self, claim, row, against):
        base = self.find(against)
        wanted = self.find(row)["id"]
        pair = next((shown.get("paired") or {} for shown in self.ask("--baseline", base["id"]) if shown["id"] == wanted), {})
        if "metrics" in claim:
            return mean([read(pair.get("tasks", {}).get(metric), "difference", pair.get("reason")) for metric in claim["metrics"]]).scaled(100)
        nll = read(pair.get("nll"), "difference", pair.get("reason"))
        if claim["unit"] == "nats":
            return nll
        ratio = read(pair.get("perplexity_ratio"), "value", pair.get("reason"))
        factor = 100 if claim["unit"].startswith("%") else read(base["metrics"].get("perplexity"), "value", None).value
        return Effect((ratio.value - 1) * factor, *(None if end is None else (end - 1) * factor for end in (ratio.low, ratio.high)), nll.survives, nll.draws)

    def interactions(self, claim):
        return self.ask("--interaction", ",".join(f"{axis}={self.label(axis, value)}" for axis, value in claim["between"].items()))

    def interaction(self, claim, row, position):
        entries = [entry for entry in self.interactions(claim) if entry["metric"] == "nll"]
        parts = sorted({tuple(entry["positions"]) for entry in entries if "positions" in entry and self.at(entry, "windows.length") == row["windows.length"]})
        part = {None: None, "first": parts[:1], "last": parts[-1:]}[position]
        wanted = [entry for entry in entries if (entry.get("positions") is None if part is None else [tuple(entry.get("positions", ()))] == part)]
        entry = self.find(row, wanted)
        return read(entry, "value", entry.get("reason"))

    def label(self, axis, value):
        """Returns how `show` calls an axis' value; a row that lacks the axis has it by its configuration, and the label of a block is its type."""
        named = [row["labels"][axis] for row in self.rows if row["axes"].get(axis) == value]
        return named[0] if named else value["type"] if isinstance(value, dict) else str(value)

    def value(self, claim, row):
        metrics = self.find(row)["metrics"]
        if "metrics" in claim:
            return mean([read(metrics.get(metric), "value", None) for metric in claim["metrics"]]).scaled(100)
        return read(metrics.get(claim["metric"]), "value", None)

    def places(self, claim, row, against=None):
        """Returns the share of a diagnostic's places that lie wholly on one side of `than`, or of the other row's interval."""
        mine = self.table(claim, row)
        other = self.table(claim, against) if against else dict.fromkeys(mine, (claim.get("than"),) * 2)
        pairs = [(mine[place], other[place]) for place in mine if mine[place] and other.get(place)]
        if not pairs:
            raise Unknown(f"no intervals of {claim['column']}: below four documents, or nothing seen")
        apart = sum(own[0] > base[1] or (against is not None and own[1] < base[0]) for own, base in pairs)
        return Share(apart / len(pairs), apart=apart, known=len(pairs), unknown=len(mine) - len(pairs))

    def table(self, claim, row):
        """Returns {(layer, band): interval, or None where there is none}."""
        ends = self.lines(claim, claim["where"], self.find(row)["id"], lambda line: ((line["layer"], line["band"]), ends_of(line, claim["column"])))
        return {place: None if None in interval else interval for place, interval in ends}

    def diagnostic(self, claim):
        """Returns a number of a diagnostic, or its ratio to that of `over`, end by end: too wide where both come from the same documents, never too
        narrow.  A number is the mean of the lines that `where` names, and of their ends; of several rounding draws it has the outermost ends."""
        cells, found = cells_of(self.find(claim["row"])), []
        for cell in cells:
            own = self.number(claim, claim["where"], cell)
            found.append(own.over(self.number(claim, claim["over"], cell)) if "over" in claim else own)
        ends = [None if any(getattr(own, end) is None for own in found) else side(getattr(own, end) for own in found) for end, side in (("low", min), ("high", max))]
        return Effect(sum(own.value for own in found) / len(found), *ends, draws=len(cells))

    def number(self, claim, where, cell):
        """Returns the mean of lines of a cell's table, with the mean of the ends of their intervals."""
        found = self.lines(claim, where, cell, lambda line: (float(line[claim["column"]]), *ends_of(line, claim["column"])))
        if not found:
            raise Unknown(f"no line of {claim['table']} has {where}")
        return Effect(*(None if None in side else sum(side) / len(side) for side in zip(*found)))

    def lines(self, claim, where, cell, make):
        """Returns make(line) of the lines of a cell's table whose columns are as `where` says; first, last: as the lines have it that are else so."""
        path = self.folder / "cells" / cell / "diagnostics" / f"{claim['table']}.csv"
        try:
            with open(path, encoding="utf-8", newline="") as file:
                lines = list(csv.DictReader(file))
            for key, value in sorted(where.items(), key=lambda one: one[1] in ENDS):
                wanted = ENDS[value](float(line[key]) for line in lines) if value in ENDS and lines else value
                lines = [line for line in lines if (float(line[key]) if value in ENDS else line[key]) == wanted]
            return [make(line) for line in lines]
        except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
            what = error.strerror if isinstance(error, OSError) else f"has no column {error}" if isinstance(error, KeyError) else error
            raise Unknown(f"{path}: {what}; run the cell again (`qroar run --rerun`)") from error


ENDS = {"first": min, "last": max}


def ends_of(line, column):
    """Returns the ends of a line's interval; None where there is none."""
    return tuple(float(line[f"{column}_{end}"]) if line[f"{column}_{end}"] else None for end in ("low", "high"))


def read(entry, name, reason):
    if not entry or entry.get(name) is None:
        raise Unknown(reason or "not measured")
    return Effect(entry[name], entry.get("low"), entry.get("high"), entry.get("survives", True), entry.get("draws"))


def survives(own, others):
    """Returns whether a p-value survives among others (Benjamini and Hochberg at 5 %)."""
    ordered = sorted([own, *others])
    return any(own <= p <= 0.05 * rank / len(ordered) for rank, p in enumerate(ordered, start=1))


def mean(effects):
    value = sum(effect.value for effect in effects) / len(effects)
    draws = effects[0].draws  # all rows of a target have the same
    if any(effect.low is None for effect in effects):
        return Effect(value, draws=draws)
    together = math.hypot if draws in (None, 1) else lambda *reaches: sum(reaches)  # one draw rounds the model that all benchmarks ask
    below, above = (together(*(reach(effect) for effect in effects)) / len(effects)
                    for reach in (lambda effect: effect.value - effect.low, lambda effect: effect.high - effect.value))
    return Effect(value, value - below, value + above, draws=draws)


def found_nothing(row):
    """Returns what is to be said where a row's scales are those of a search that stayed at its beginning, in every rounding draw; else ""."""
    found = list(searches_of(row).values())
    if not found or not all(search.get("g") and all(scale == 1 for scale in search["g"]) for search in found):
        return ""
    refused, tried = (sum(search.get(what, 0) for search in found) for what in ("refused", "candidates"))
    return f"found nothing better than no scales (its guard refused {refused} of {tried} candidates)"


def known_at_least(worth, target):
    """Returns the share of a difference that would count, of what the difference is at least by its interval: 0 where it may be none, for a share of
    an unknown whole tells nothing small from nothing."""
    whole = target.paired({"unit": "nats"}, worth["row"], worth["against"])
    return worth["share"] * max(0, whole.low or 0)


def effect_of(claim, target):
    kind = claim["compare"]
    one = lambda part: {  # noqa: E731
        "paired": lambda: target.paired(claim, part["row"], part["against"]),
        "interaction": lambda: target.interaction(claim, part.get("row", claim["row"]), part.get("position")),
        "value": lambda: target.value(claim, part["row"]),
        "places": lambda: target.places(claim, part["row"], part.get("against")),
        "diagnostic": lambda: target.diagnostic(part),
    }[kind]()
    effect = one(claim)
    if "less" in claim:
        effect = effect.less(one(claim["less"]))
    if effect.low is not None and ("less" in claim or "metrics" in claim):  # of which `show` has not said whether it survives
        effect.survives = survives(effect.p_value(), target.p_values(claim))
    return effect
