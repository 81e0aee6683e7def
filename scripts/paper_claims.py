"""Judges the papers' claims (paper/claims.yaml) from what `qroar show` says of finished targets; scripts/paper calls it.

An effect is a value with its 95 % interval, and whether it survives among all comparisons of its table.  Two effects that `show` cannot pair (of
two lengths, of two parts of a window) are subtracted end from end: such an interval is too wide and never too narrow, whatever the two have
in common.  What one rounding draw says of a quantizer is no verdict.  Means over benchmarks, which share no question, add up the squares of how far
the ends of their intervals are (Zou and Donner 2008), each side by itself.  docs/paper.md has the rules.
"""
import csv
import math
from dataclasses import dataclass
from functools import cache

REPRODUCED, NOT, CANNOT, OTHER = "reproduced", "not reproduced", "cannot be told at this size", "not comparable"
LEAST_PLACES = 20  # of layers and bands with an interval: as many as let one in twenty show


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

    def less(self, other):
        known = None not in (self.low, other.high)
        return Effect(self.value - other.value, *((self.low - other.high, self.high - other.low) if known else (None, None)), draws=self.draws)


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

    def interaction(self, claim, row, position):
        labels = []
        for axis, value in claim["between"].items():
            labels.append(f"{axis}={self.label(axis, value)}")
        entries = [entry for entry in self.ask("--interaction", ",".join(labels)) if entry["metric"] == "nll"]
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
        path = self.folder / "cells" / self.find(row)["id"] / "diagnostics" / f"{claim['table']}.csv"
        try:
            with open(path, encoding="utf-8", newline="") as file:
                rows = [line for line in csv.DictReader(file) if all(line[key] == value for key, value in claim["where"].items())]
            ends = {(line["layer"], line["band"]): (line[f"{claim['column']}_low"], line[f"{claim['column']}_high"]) for line in rows}
            return {place: (float(low), float(high)) if low and high else None for place, (low, high) in ends.items()}
        except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
            what = error.strerror if isinstance(error, OSError) else f"has no column {error}" if isinstance(error, KeyError) else error
            raise Unknown(f"{path}: {what}; run the cell again (`qroar run --rerun`)") from error


def read(entry, name, reason):
    if not entry or entry.get(name) is None:
        raise Unknown(reason or "not measured")
    return Effect(entry[name], entry.get("low"), entry.get("high"), entry.get("survives", True), entry.get("draws"))


def mean(effects):
    value = sum(effect.value for effect in effects) / len(effects)
    draws = effects[0].draws  # all rows of a target have the same
    if any(effect.low is None for effect in effects):
        return Effect(value, draws=draws)
    below, above = (math.hypot(*(reach(effect) for effect in effects)) / len(effects)
                    for reach in (lambda effect: effect.value - effect.low, lambda effect: effect.high - effect.value))
    return Effect(value, value - below, value + above, draws=draws)


def effect_of(claim, target):
    kind = claim["compare"]
    one = lambda part: {  # noqa: E731
        "paired": lambda: target.paired(claim, part["row"], part["against"]),
        "interaction": lambda: target.interaction(claim, part.get("row", claim["row"]), part.get("position")),
        "value": lambda: target.value(claim, part["row"]),
        "places": lambda: target.places(claim, part["row"], part.get("against")),
    }[kind]()
    effect = one(claim)
    return effect.less(one(claim["less"])) if "less" in claim else effect


def verdict_of_places(share):
    said = f"so in {share.apart} of {share.known} layers and bands" + (f", {share.unknown} without interval" if share.unknown else "")
    if share.known < LEAST_PLACES or share.known <= share.unknown:
        return CANNOT, f"{said}: too few to speak for all"
    if share.value > 0.5:
        return REPRODUCED, f"{said}, more than half"
    return (NOT, f"{said}, one of twenty at most, as by chance") if share.value <= 0.05 else (CANNOT, f"{said}, in some and not in most")


def verdict_of_number(effect, claim):
    if not effect.low <= claim["than"] <= effect.high:
        return NOT, f"the interval excludes {claim['than']:g}"
    if effect.high - effect.low > 2 * claim["tolerance"] if "tolerance" in claim else effect.low <= 0 <= effect.high:
        return CANNOT, f"the interval has {claim['than']:g} in it, and too much else"
    return REPRODUCED, f"the interval has {claim['than']:g} in it"


def verdict_of_side(effect, claim):
    side, than, worth = claim["expect"], claim.get("than", 0), claim.get("worth", 0)
    said = f"{than:g}" + (f" {claim['unit']}" if than else "")
    sign = 1 if side == "above" else -1
    effect = effect.scaled(sign)
    if effect.low > sign * than:
        return (REPRODUCED, f"the whole interval is {side} {said}, as claimed") if effect.survives else (
            CANNOT, f"the interval is {side} {said}, as claimed, but of so many comparisons some are by chance (Benjamini and Hochberg at 5 %)")
    if effect.high <= sign * than:
        return NOT, f"claimed is {side} {said}; the whole interval is on the other side of it"
    if effect.high < sign * than + worth:
        return NOT, f"too small to count: the interval excludes {sign * worth:+g} {claim['unit']} and anything beyond"
    return CANNOT, f"claimed is {side} {said}; the interval reaches to both sides of it"


def judge_one(claim, unfinished, folder, targets, show, of_the_papers):
    """Returns (effect, verdict, why)."""
    name = claim["target"]
    if name in unfinished:
        return None, CANNOT, unfinished[name]
    try:
        if name not in targets:
            targets[name] = Target(name, folder / name, show)
        effect = effect_of(claim, targets[name])
    except Unknown as reason:
        return None, CANNOT, str(reason)
    if "never" in claim:
        return effect, OTHER, claim["never"]
    if claim.get("papers_only") and not of_the_papers:
        return effect, OTHER, "the number belongs to the papers' models, and this is another one"
    if claim["compare"] == "places":
        return effect, *verdict_of_places(effect)
    if effect.low is None:
        return effect, CANNOT, "no interval: below four documents or questions"
    if claim["row"].get("quant") and effect.draws == 1:
        return effect, CANNOT, "measured in one rounding draw, and another draw moves it as much; give the file of sizes more draws"
    return effect, *(verdict_of_number if claim["expect"] == "equal" else verdict_of_side)(effect, claim)


def judge(claims, unfinished, folder, show, of_the_papers):
    """Returns a verdict for every claim; unfinished: {target: why its claims cannot be judged}; show(target, option...) -> the rows of
    `qroar show --format json`, or Unknown."""
    targets, verdicts = {}, []
    for claim in claims:
        effect, verdict, why = judge_one(claim, unfinished, folder, targets, show, of_the_papers)
        known = effect is not None and effect.low is not None
        verdicts.append({"id": claim["id"], "claim": claim["claim"], "source": claim["source"], "experiment": claim["target"],
                         "effect": effect.value if effect else None, "interval": [effect.low, effect.high] if known else None, "unit": claim["unit"],
                         "verdict": verdict, "why": why})
    return verdicts


def effect_text(entry):
    """Returns "0.012 [0.005, 0.020]" of a verdict, to two digits of the interval's half; empty where nothing was measured."""
    if entry["effect"] is None:
        return ""
    if not entry["interval"]:
        return f"{entry['effect']:.3g}"
    low, high = entry["interval"]
    digits = max(0, 1 - math.floor(math.log10((high - low) / 2))) if high > low else 4
    return f"{entry['effect']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(verdicts):
    lines = ["| claim | source | target | measured here | unit | verdict | why |", "|---|---|---|---|---|---|---|"]
    for entry in verdicts:
        cells = [entry["claim"], entry["source"], entry["experiment"], effect_text(entry), entry["unit"], f"**{entry['verdict']}**", entry["why"]]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
