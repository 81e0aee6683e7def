"""The first sections: the experiment's question, what it found in plain words, the largest effects first, and the verdicts on claims."""

import json
import sys
from pathlib import Path

from .content import Cell, Ranking, Section, Table, Text
from .effects import SUBJECT, largest
from .interactions import whole_windows
from .points import quantizer_of, scheme_of
from .rows import compared, differences, visible

MOST_SAID, LEAST_SAID = 6, 5e-5  # what the digits show
VERDICT = ("claim", "experiment", "effect", "interval", "verdict")


def question(found):
    """The paragraphs of the head comment of the experiment's file; none where the file is gone."""
    try:
        plan = json.loads((found.results / "plan.json").read_text(encoding="utf-8"))
        file = Path(plan["file"])
        head = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.suffix in (".yaml", ".yml") and file.is_file() else []
    except (OSError, ValueError, KeyError, TypeError):
        head = []
    lines = []
    for line in head:
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return Section("question", "Question", [Text(visible(part.replace("\n", " "))) for part in "\n".join(lines).split("\n\n") if part.strip()])


def sentence(found, row, effect, what, unit, ratio=None):
    value, low, high = effect.get("difference", effect.get("value")), effect.get("low"), effect.get("high")
    interval = "no interval: fewer than four documents or questions, or two rounding draws" if low is None else f"95 % interval of the difference {low:+.4f} to {high:+.4f}"
    if ratio:
        interval += f"; perplexity × {ratio:.4g}"
    survives = "" if low is None else f" It {'survives' if effect.get('survives') else 'does not survive'} the correction for all comparisons."
    return f"{found.places.said(row)} {what}", f"{abs(value):.4f} {unit}", f"({interval}).{survives}", bool(effect.get("survives"))


def survival(own, family):
    """Returns how many effects survive, of these and of all in the table that they come from."""
    own, family = compared(own), compared(family)
    if not own:
        return "None of these has an interval."
    count = lambda effects: f"{sum(bool(effect.get('survives')) for effect in effects)} of {len(effects)}"  # noqa: E731
    if len(own) == len(family):
        return f"{count(own)} comparisons survive Benjamini-Hochberg at 5 %."
    return (
        f"{count(own)} comparisons of this kind, and {count(family)} in the table that they come from, "
        "survive Benjamini-Hochberg at 5 % among all in that table."
    )


def part(found, title, entries, family, say, key):
    """entries: [(row, effect)]; family: the effects of their table; say(row, effect): (words before the number, its unit, the ratio of perplexities or
    None)."""
    entries = [(row, effect) for row, effect in entries if effect.get("difference", effect.get("value")) is not None]
    top = [(row, effect) for row, effect in largest(entries, key) if abs(effect.get("difference", effect.get("value"))) >= LEAST_SAID][:MOST_SAID]
    if not top:
        return [Text(f"{title}: no difference of 0.0001 or more.")] if entries else []
    note = f"The largest of each configuration. {survival([effect for _, effect in entries], family)}"
    return [Ranking(title, note, [sentence(found, row, effect, *say(row, effect)) for row, effect in top])]


def unit_of(metric):
    """Returns the unit of differences of a metric: "nats per token", "of passkey accuracy"."""
    return "nats per token" if metric == "nll" else f"of {metric.replace('/', ' ')}"


def answer(found):
    places, parts = found.places, []
    without_x = lambda row: tuple(label for name, label in row["labels"].items() if places.x is None or name != places.x.name)  # noqa: E731
    visible = lambda rows: [row for row in rows if row["id"] not in found.hidden]  # noqa: E731
    for axis, rows in found.paired.items():
        family = [entry for row in rows for entry in [row["paired"].get("nll"), *row["paired"].get("tasks", {}).values()] if entry]
        rows = visible(rows)
        for metric in dict.fromkeys(name for row in rows for name in differences(row)):
            nll, unit = metric == "nll", unit_of(metric)
            more, less = ("costs", "saves") if nll else ("gains", "loses")
            say = lambda row, effect: (  # noqa: E731
                more if effect["difference"] > 0 else less,  # noqa: B023
                unit,  # noqa: B023
                row["paired"].get("perplexity_ratio", {}).get("value") if nll else None,  # noqa: B023
            )
            own = [(row, differences(row)[metric]) for row in rows if metric in differences(row)]
            parts += part(found, f"{SUBJECT[axis].capitalize()}, against {axis}=none ({unit.removeprefix('of ')})", own, family, say, without_x)
    for axes, effects in found.interactions.items():
        own = [] if isinstance(effects, str) else whole_windows(found, effects)  # the section on interactions says why there are none
        say = lambda row, effect: (f"costs {'more' if effect['value'] > 0 else 'less'} together than apart:", "nats per token", None)  # noqa: E731
        parts += part(found, f"Interaction of {axes[0]} and {axes[1]}", own, effects, say, lambda row: (scheme_of(row), quantizer_of(row)))
    family = [effect for row in found.finished for effect in row.get("searched", {}).values()]
    for name in dict.fromkeys(name for row in found.shown for name in row.get("searched", {}) if name.startswith("gain beyond")):
        own = [(row, row["searched"][name]) for row in found.shown if name in row.get("searched", {})]
        say = lambda row, effect: (f"has a {name} of" if effect["difference"] < 0 else f"has no {name}:", "nats per token", None)  # noqa: E731,B023
        parts += part(found, f"Searched scales: {name}", own, family, say, without_x)
    return Section("answer", "Answer", parts)


def verdicts(found):
    """The claims of RESULTS_DIR/verdicts.json, which other scripts write."""
    file = found.results / "verdicts.json"
    if not file.is_file():
        return Section("verdicts", "Verdicts", [])
    try:
        claims = visible(json.loads(file.read_text(encoding="utf-8"), parse_int=float))
    except (OSError, ValueError, RecursionError) as error:
        sys.exit(f"report: {file}: {error}; write it again, or remove it")
    if not isinstance(claims, list) or not all(isinstance(one, dict) and set(VERDICT) <= set(one) for one in claims):
        sys.exit(f"report: {file}: needs a list of objects with {', '.join(VERDICT)}; write it again, or remove it")

    def said(value):
        ends = [f"{end:g}" if isinstance(end, (int, float)) else str(end) for end in (value if isinstance(value, list) else [value]) if end is not None]
        return " to ".join(ends)

    body = [
        [
            Cell(said(one["verdict"])),
            said(one["claim"]),
            Cell(said(one["effect"]), one["effect"] if isinstance(one["effect"], (int, float)) else ""),
            said(one["interval"]),
            said(one["experiment"]),
        ]
        for one in claims
    ]
    return Section("verdicts", "Verdicts", [Table(["verdict", "claim", "effect", "interval", "experiment"], [("", body)], name="claims")] if body else [])
