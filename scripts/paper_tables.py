"""The papers' tables that `qroar show` has not: table 2 beside the published numbers, table 3 as the mean over benchmarks and by benchmark.

Of table 3 the mean is the subject, so that it stands first in tables and figures."""
import json
from pathlib import Path

from paper_effects import mean, read, survives
from reporting.charts import chart, panel_of
from reporting.content import Cell, Table
from reporting.labels import cut, unlike
from reporting.rows import show

BENCHMARKS = {"arc_challenge/acc": "ARC-C", "arc_easy/acc": "ARC-E", "boolq/acc": "BoolQ", "hellaswag/acc": "HellaSwag", "winogrande/acc": "WinoGrande"}
MEAN = "mean of the five"
LENGTH = "windows.length"
PUBLISHED = [("FP16 with YaRN, table 2", 5.386, "published; texts, length and averaging are not said"),  # docs/method.md 6
             ("Yarn-Llama-2-7b-64k, YaRN's own table", 2.37, "published; a fine-tuned model, 32768 tokens")]


def number(value, low=None, high=None, digits=2, sign=""):
    """Returns the cell "1.23 [1.10, 1.36]"; an empty one for a perplexity that no double holds."""
    if value is None:
        return ""
    ends = "" if low is None else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return Cell(f"{value:{sign}.{digits}f}{ends}", value)


def called(row):
    quant, rescale = (row["labels"].get(name) or "none" for name in ("quant", "rescale"))
    return " + ".join(["full precision" if quant == "none" else quant, *([rescale] if rescale != "none" else [])])


def shortly(row):
    """Returns what a line of a figure has room for: "RTN W4 + Q-ROAR"."""
    format, *scales = called(row).split(" + ")
    return " + ".join([format.replace("full precision", "FP"), *(name.split()[0] for name in scales)])


def lengths_of(rows):
    return sorted({row["axes"][LENGTH] for row in rows})


def beside_published(found):
    """Table 2: a block for each protocol and length, the published ones first; lengths beside each other would be wider than a page."""
    blocks = [(protocol, [[name, number(value, digits=3)]]) for name, value, protocol in PUBLISHED]
    for length in lengths_of(found.finished):
        own = [row for row in found.finished if row["axes"][LENGTH] == length]
        windows, texts = own[0]["config"]["windows"], Path(own[0]["config"]["data"]["path"]).stem
        entries = [(called(row), row["metrics"]["perplexity"]) for row in own]
        title = f"{windows['protocol']}, {length} tokens; mean of the means of {entries[0][1]['clusters']} documents of {texts}"
        blocks.append((title, [[name, number(entry["value"], entry.get("low"), entry.get("high"))] for name, entry in entries]))
    return [Table(["format", "perplexity"], blocks, title="Perplexity on Proof-Pile and what was published", name="published")]


def answered(entries, value):
    """Returns {benchmark: effect in per cent or points}, the mean first; {} where a benchmark has none."""
    if not entries or any((entries.get(metric) or {}).get(value) is None for metric in BENCHMARKS):
        return {}
    effects = {title: read(entries[metric], value, None).scaled(100) for metric, title in BENCHMARKS.items()}
    return {MEAN: mean(list(effects.values()))} | effects


def compared(found, rows):
    """Returns {row's id: differences from full precision over the same questions, as of answered()}, and which survive among all of the table."""
    base = next((row["id"] for row in rows if called(row) == "full precision"), None)
    shown = json.loads(show(found.results, "--format", "json", "--baseline", base)) if base else []
    pairs = {row["id"]: (row.get("paired") or {}).get("tasks", {}) for row in shown}
    p_values = [entry["p_value"] for tasks in pairs.values() for entry in tasks.values() if entry.get("p_value") is not None]
    differences = {row["id"]: answered(pairs.get(row["id"]), "difference") for row in rows}
    for whole in (own[MEAN] for own in differences.values() if own):
        whole.survives = whole.low is not None and survives(whole.p_value(), p_values)
    return differences


def accuracy(found):
    """Table 3: per cent right, and what it differs by from full precision."""
    means, benchmarks, right, lead = [], [], [], []
    for length in lengths_of(found.finished):
        rows = [row for row in found.finished if row["axes"][LENGTH] == length and answered(row["metrics"], "value")]
        values, differences = {row["id"]: answered(row["metrics"], "value") for row in rows}, compared(found, rows)
        cell = lambda effect, sign="": number(effect.value, effect.low, effect.high, 1, sign) if effect else ""  # noqa: E731
        title = f"windows of {length} tokens"
        means.append((title, [[called(row), cell(values[row["id"]][MEAN]), cell(differences[row["id"]].get(MEAN), "+")] for row in rows]))
        benchmarks.append((title, [[called(row), *(number(values[row["id"]][name].value, digits=1) for name in BENCHMARKS.values())] for row in rows]))
        right += [(row, values[row["id"]]) for row in rows]
        lead += [(row, differences[row["id"]]) for row in rows if differences[row["id"]]]
    note = "Five shots; the mean of the five benchmarks, then each. Bars: 95 % intervals over questions, and over rounding draws where there are several."
    filled = f"{note} Filled: survives Benjamini-Hochberg at 5 %."
    figures = [drawn(found, "accuracy_paired", "What differs from full precision", filled, lead, "Δ accuracy (points)", 0),
               drawn(found, "accuracy", "Accuracy", note, right, "right (%)")]
    return [Table(["format", "mean", "against full precision"], means, title="Per cent right, five shots: the mean of the five benchmarks", name="table"),
            Table(["format", *BENCHMARKS.values()], benchmarks, title="Per cent right, five shots, by benchmark", name="benchmarks"), *figures]


def drawn(found, name, title, note, rows, unit, null=None):
    """Returns the figure of [(row, {benchmark: effect})]: a panel for each benchmark, a line for each format and length."""
    panels, lines = [], unlike({row["id"]: cut(f"{shortly(row)}, {row['axes'][LENGTH]}") for row, _ in rows})
    for benchmark, metrics in {MEAN: BENCHMARKS, **{title: [metric] for metric, title in BENCHMARKS.items()}}.items():
        points = []
        for row, effects in rows:
            effect = effects[benchmark]
            low, high = (effect.value if end is None else end for end in (effect.low, effect.high))
            points.append(found.places.look(row) | {
                "line": lines[row["id"]], "value": effect.value, "low": low, "high": high, "full": null is not None and effect.survives,
                "text": f"{effect.value:.1f} [{low:.1f}, {high:.1f}]", "count": sum(row["metrics"][metric]["count"] for metric in metrics)})
        panels.append(panel_of(benchmark, points, null=null))
    return chart(found.places, name, title, note, panels, unit, unit, columns=2)
