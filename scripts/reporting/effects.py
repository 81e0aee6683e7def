"""The sections on effects, metrics and searches: a figure by length and a compact table of each."""

import dataclasses
import math

from .axes import LENGTH
from .charts import chart, panel_of
from .content import Note, Section, Text
from .labels import cut, slug, unlike
from .rows import differences, metric_title, metrics_of, said
from .tables import compact

SUBJECT = {"quant": "quantization", "kv": "the quantized cache", "rescale": "rescaling", "rope": "interpolation"}
FILLED = "Bars: 95 % intervals; a star, and a filled marker, where one survives Benjamini-Hochberg at 5 %."
NLL = "Δ NLL (nats per token)"


def drawn(found, name, title, note, entries, unit, value_title, null=None):
    """Returns a figure of [(row, effect, text, panel or None)], with a panel for what neither colour nor marker nor length (nor label) tells."""
    places, x = found.places, found.places.x
    points = [(panel, point) for row, effect, text, panel in entries if (point := places.point(row, effect, text))]
    if not points:
        return None
    of_length = x is not None and x.name == LENGTH
    logarithmic = x is not None and min(x.numbers.values()) > 0 and (of_length or max(x.numbers.values()) >= 10 * min(x.numbers.values()))
    marks = [found.trained] if of_length and found.trained else []
    x_title = ("window length (tokens)" if of_length else cut(x.title)) if x else ""
    lines = places.titles([point["line"] for _, point in points]) if places.listed else {}
    heads = (
        {key: f"{key[2]} tokens" if of_length else cut(f"{x.title} {key[2]}") for key in {point["panel"] for _, point in points}}
        if places.listed and x
        else places.titles([point["panel"] for _, point in points])
    )
    panels = {}
    for panel, point in points:
        if places.listed:
            point |= {"line": lines[point["line"]] or point["scheme"]}
            point |= {"order": list(lines.values()).index(point["line"]) if point["line"] in lines.values() else 0}
        panels.setdefault(cut(panel) if panel else point["panel"], []).append(point)
    order = list(panels) if entries[0][3] else sorted(panels, key=lambda key: x.labels.index(key[2]) if places.listed and x else list(heads).index(key))
    made = [panel_of(heads.get(key, key), sorted(panels[key], key=lambda point: point.pop("order", 0)), x_title, null=null, marks=marks) for key in order]
    for point in (point for panel in made for point in panel["points"]):
        del point["panel"]
    return chart(places, name, title, note, made, unit, value_title, logarithmic)


def part(found, name, title, note, entries, unit, value_title, null=None):
    """Returns the figure of [(row, effect, text)] and its table, under whose cells those of a search's controls are folded."""
    entries = [entry for entry in entries if entry[1].get("reason") != "baseline"]
    own = [entry for entry in entries if entry[0]["id"] not in found.hidden] or entries
    if not own:
        return []
    figure = drawn(found, name, title, note, [(*entry, None) for entry in own], unit, value_title, null)
    return [figure or Text(f"{title}: too many panels for a figure, or no finite value."), compact(found, name, value_title, own, entries)]


def smallest(entries):
    """Returns a sentence on what could have been found of [(row, effect, text)]; "" where nothing has an interval."""
    found = sorted(effect["detectable"] for _, effect, _ in entries if effect.get("detectable") is not None)
    sizes = dict.fromkeys(f"{size:.4f}" for size in (found[0], found[-1])) if found else {}
    return f"Smallest effects that are found with a probability of 80 %: {' to '.join(sizes)}. " if found else ""


def effects(found):
    """Differences from the rows without quantization, cache, rescaling, interpolation: the first figures of a report."""
    parts = []
    for axis, rows in found.paired.items():
        for metric in dict.fromkeys(name for row in rows for name in differences(row)):
            own = [(row, entry, said(entry)) for row in rows if (entry := differences(row).get(metric, row["paired"] if metric == "nll" else None))]
            title = f"What {SUBJECT[axis]} changes" + ("" if metric == "nll" else f": {metric}")
            note = f"Against `{axis}=none` over the same windows or questions. {'Above 0 costs. ' if metric == 'nll' else ''}{smallest(own)}{FILLED}"
            parts += part(
                found,
                f"effect_{axis}" + ("" if metric == "nll" else f"_{slug(metric)}"),
                title,
                note,
                own,
                NLL if metric == "nll" else f"Δ {metric.split('/')[-1]}"[:24],
                "difference",
                null=0,
            )
    return Section("effects", "Effects", parts)


def metrics(found):
    """The metrics themselves; intervals tell how far these texts stand for others, not whether rows differ."""
    parts = []
    for metric in metrics_of(found.finished):
        own = [(row, row["metrics"][metric] or {}, row["texts"].get(metric, "")) for row in found.finished if metric in row["metrics"]]
        units = "questions" if "/" in metric else "documents"
        note = (
            f"Bars: 95 % intervals over {units}, and over rounding draws where there are several. Rows over the same {units} share what is "
            f"hard about them: their "
            "differences are known better than these intervals say."
        )
        title = metric if metric_title(metric) == metric.split("/")[-1] else metric_title(metric).partition(" (")[0]
        parts += part(found, slug(metric), title, note, own, metric_title(metric), metric_title(metric))
    return Section("metrics", "Metrics", parts)


MOST_LISTED, MOST_TOGETHER = 24, 8
COMPARISONS = (
    "What the scales that a search found do to the quantized model, what the same scales do to the full-precision one, what is left of the "
    "gain beyond that, what one "
    "scale for all bands does and what bands gain beyond it, and what random scales as far from 1 do (their spread is in the interval)."
)


def searched(found):
    """Returns the figures and tables of searches' paired differences: a panel for each comparison where colour and marker tell searches apart or they
    have labels, else a figure for each."""
    rows = [row for row in found.shown if "searched" in row]
    names = list(dict.fromkeys(name for row in rows for name in row["searched"]))
    if not names:
        return []
    entries = {name: [(row, row["searched"][name], said(row["searched"][name])) for row in rows if name in row["searched"]] for name in names}
    note, titles = (
        f"{COMPARISONS} Differences of mean NLL over the same windows; below 0 is better. {smallest(sum(entries.values(), []))}{FILLED}",
        unlike({name: cut(name.replace("full precision", "FP").replace("temperature", "temp.")) for name in names}),
    )
    searches = {(found.places.look(row)["series"], found.places.key(row, found.places.rest_axes)[2]) for row in rows}
    if (
        found.places.listed
        and len(searches) <= MOST_LISTED
        and found.places.x is None
        or len({rest for _, rest in searches}) == 1
        and len(searches) <= MOST_TOGETHER
    ):
        together = [(row, effect, text, titles[name]) for name in names for row, effect, text in entries[name]]
        figure = drawn(found, "searched", "Searched scales and their controls", note, together, NLL, "difference", null=0)
        return [*([figure] if figure else []), *(dataclasses.replace(compact(found, f"searched_{slug(name)}", name, entries[name]), title=name) for name in names)]
    return [
        Note(note),
        *(made for name in names for made in part(found, f"searched_{slug(name)}", name[0].upper() + name[1:], "", entries[name], NLL, "difference", null=0)),
    ]


def largest(entries, key):
    """Returns the entries of the largest absolute value of each key, largest first."""
    best = {}
    for row, effect in entries:
        value = abs(effect.get("difference", effect.get("value")))
        if value > 0 and math.isfinite(value) and value > best.get(key(row), (0,))[0]:
            best[key(row)] = value, row, effect
    return [(row, effect) for _, row, effect in sorted(best.values(), key=lambda one: -one[0])]
