#!/usr/bin/env -S sh -c 'exec "${QROAR_VENV:-$(dirname "$0")/../.venv}/bin/python" "$0" "$@"'
"""Write a report of a results folder: tables in Markdown, plots as PNG and SVG.

usage: scripts/report.py RESULTS_DIR [--out DIR] [--all]

Takes the rows and the explanation of their numbers from `qroar show`, and reads RESULTS_DIR/cells/*/diagnostics/*.csv; writes report.md, a
plot of each metric and one of each cell's diagnostics into DIR (default: RESULTS_DIR) and prints the report's path.  Equal rows give equal bytes.
Uses the program that QROAR_BINARY names, else that of the submission that contains this copy, else the newest one in build/.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from matplotlib import pyplot, ticker

import report_diagnostics
import report_interaction
import report_pareto
import report_search
import report_tasks
from report_axes import LENGTH, MOST_LINES, Layout, joined
from report_style import STYLES, markdown, scale_values, write_plot

HERE = Path(__file__).resolve().parent
LOGARITHM_OF = {"nll": "perplexity"}  # only the latter is shown
ERROR_NOTE = ("Intervals and bars are 95 % over {units} (docs/method.md 5). Rows over the same {units} share what is hard about them, so "
              "differences between rows are known better than their intervals say: `qroar show RESULTS_DIR --baseline AXIS=VALUE` compares in pairs.")


def program():
    built = sorted(HERE.parent.glob("build/*/qroar"), key=lambda path: path.stat().st_mtime)
    beside = [HERE.parent / "qroar"]  # in a submission's folder (scripts/slurm/submit)
    named = [Path(os.environ["QROAR_BINARY"])] if "QROAR_BINARY" in os.environ else []
    found = [path for path in named or beside + built[::-1] if path.is_file()]
    return found[0] if found else sys.exit("report: no program; run scripts/build, or name one in QROAR_BINARY")


def show(folder, *options):
    process = subprocess.run([program(), "show", folder, *options], capture_output=True, encoding="utf-8", check=False)
    if process.returncode != 0:
        sys.exit(f"report: {process.stderr.strip()}")
    return process.stdout


def read_rows(folder, options):
    """Returns the rows, with the values that distinguish them but are not axes added to their axes."""
    rows = json.loads(show(folder, "--format", "json", *options))
    for row in rows:
        row["axes"] |= row.pop("differs", {})
    return sorted(rows, key=lambda row: row["id"])


def read_caption(folder, options):
    """Returns the lines under the table of `show`, separated by blank lines; failed cells have their own section."""
    parts = show(folder, "--format", "markdown", *options).split("\n\n")
    caption = next(part for part in parts if "\n|" not in f"\n{part}")
    return "\n\n".join(line for line in caption.splitlines() if not line.startswith("failed ")) + "\n"


def measured(row, metric):
    """Returns (value, down to the interval's low end, up to its high end) of a row; None where there is no finite value, and lengths 0 where
    there is no interval."""
    entry = row["metrics"].get(metric) or {}
    value, low, high = (entry.get(name) for name in ("value", "low", "high"))
    if value is None:
        return None
    return (value, 0.0, 0.0) if low is None or high is None else (value, max(0.0, value - low), max(0.0, high - value))


def metric_table(rows, layout, metric):
    across = layout.across
    down = [axis for axis in layout.axes if axis is not across]
    columns = across.labels if across else [metric]
    sizes = report_pareto.sizes(rows)
    body = []
    for key, group in layout.groups(rows, down):
        cells = {column: "" for column in columns}
        for row in group:
            cells[across.of(row) if across else metric] = row["texts"].get(metric, "failed" if row["status"] != "ok" else "")
        bits = ["" if group[0].get(size) is None else f"{group[0][size]:.4g}" for size in sizes]
        body.append([*key, *bits, *cells.values()])
    return markdown([axis.title for axis in down] + [report_pareto.SIZES[size] for size in sizes] + columns, body)


def trained_length(rows):
    """Returns the length that the rows' model was trained on; None where they differ."""
    lengths = {row["environment"]["trained_length"] for row in rows}
    return lengths.pop() if len(lengths) == 1 else None


def is_logarithmic(x):
    numbers = sorted(x.numbers.values())
    return numbers[0] > 0 and (x.name == LENGTH or numbers[-1] >= 10 * numbers[0])


def dodged(x, number, place, count):
    """Returns where the point of line `place` of `count` stands beside its number: a fifth of the smallest gap holds the bars of all lines."""
    into, back = (math.log, math.exp) if is_logarithmic(x) else (float, float)
    places = sorted(into(number) for number in x.numbers.values())
    gap = min((right - left for left, right in zip(places, places[1:]) if right > left), default=0)
    return back(into(number) + gap / 5 * ((place + 0.5) / count - 0.5))


def plot_against_x(rows, layout, metric):
    panels = layout.groups(rows, [layout.panel] if layout.panel else [])
    lines = [key for key, _ in layout.groups(rows, layout.lines)]
    legend = 0.085 * max(len(joined(layout.lines, key)) for key in lines)
    width = 1.2 + 3.3 * len(panels) + legend if len(panels) > 1 else 4.8 + legend
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(width, 3.6), sharey=True, squeeze=False)
    handles = {}
    for axes, (title, panel_rows) in zip(all_axes[0], panels):
        for key, group in layout.groups(panel_rows, layout.lines):
            points = sorted((layout.x.numbers[layout.x.of(row)], *measured(row, metric)) for row in group if measured(row, metric))
            x, y, *reach = zip(*points) if points else ((), (), (), ())
            x = [dodged(layout.x, number, lines.index(key), len(lines)) for number in x]
            turn, place = divmod(lines.index(key), len(STYLES))
            handles[joined(layout.lines, key) or "none"] = axes.errorbar(
                x, y, reach, color=STYLES[place][0], marker=STYLES[place][1], linestyle=["-", "--", ":"][turn % 3],
                linewidth=1.2, markersize=5, markerfacecolor="white", capsize=2, elinewidth=0.8)
        text = f"{layout.panel.title}: none" if title in (("none",), ("",)) else " · ".join(title)
        axes.set_title(textwrap.fill(text, 30), fontsize=11)
    scale_axes(all_axes[0], layout.x, [measured(row, metric)[0] for row in rows if measured(row, metric)])
    x_title = layout.x.title
    if layout.x.name == LENGTH and (trained := trained_length(rows)):
        for axes in all_axes[0]:
            axes.axvline(trained, color="0.5", linewidth=0.8, zorder=0)
        x_title += f"; vertical line: trained length {trained}"
    figure.supxlabel(x_title, fontsize=11)
    all_axes[0][0].set_ylabel(metric)
    if layout.lines:
        figure.legend(handles.values(), handles.keys(), title=" · ".join(axis.title for axis in layout.lines),
                      loc="outside right upper", frameon=False)
    return figure


def scale_axes(all_axes, x, values):
    """Sets a logarithmic axis of lengths with the real lengths as ticks."""
    numbers = sorted(x.numbers.values())
    for axes in all_axes:
        if is_logarithmic(x):
            axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{number:g}" if number < 1e5 else f"{number / 1024:g}K" for number in numbers], fontsize=10)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        scale_values(axes.yaxis, values)
        axes.yaxis.set_minor_locator(ticker.NullLocator())


def plot_points(rows, layout, metric):
    """Plots rows without a numeric axis: one label and one point with its interval per row, one panel per evaluated text."""
    panels = layout.groups(rows, [layout.panel] if layout.panel else [])
    down = [axis for axis in layout.axes if axis is not layout.panel]
    lines = [joined(down, key) for key, _ in layout.groups(rows, down)]
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(2.5 + 0.075 * max(map(len, lines)) + 2.6 * len(panels), 1.2 + 0.28 * len(lines)),
                                       sharey=True, squeeze=False)
    for axes, (title, panel_rows) in zip(all_axes[0], panels):
        for key, group in layout.groups(panel_rows, down):
            for value, *reach in filter(None, (measured(row, metric) for row in group)):
                axes.errorbar(value, lines.index(joined(down, key)), xerr=[[length] for length in reach], color=STYLES[2][0], marker="o", capsize=3,
                              markerfacecolor="white")
        axes.set_title(" · ".join(title), fontsize=11)
        axes.set_xlabel(metric)
        scale_values(axes.xaxis, [measured(row, metric)[0] for row in panel_rows if measured(row, metric)])
    all_axes[0][0].set_yticks(range(len(lines)), [textwrap.fill(text, 70) or "the experiment" for text in lines], fontsize=9)
    all_axes[0][0].set_ylim(len(lines) - 0.5, -0.5)
    return figure


def flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)


def provenance(rows, part, hidden):
    """Returns key | value lines of the values that the rows share, or of the range that they cover."""
    values = {}
    for row in rows:
        for key, value in flatten(row[part] or {}):
            if not any(key == name or key.startswith(name + ".") for name in hidden):
                values.setdefault(key, set()).add(value)
    lines = []
    for key, found in values.items():
        found = sorted(found, key=lambda text: (len(text), text) if text.isdigit() else (0, text))
        extra = f" to `{found[-1]}` ({len(found)} values)" if len(found) > 1 else ""
        lines.append([key, f"`{found[0]}`{extra}"])
    return lines


def not_publishable(rows):
    """Returns Markdown lines that say why these numbers do not come from one commit and so are not reproducible; mostly none."""
    commits = sorted({row["environment"]["commit"] for row in rows})
    dirty = [commit for commit in commits if commit.endswith("-dirty")]
    if dirty:
        cause, named = "made from a tree with uncommitted changes", dirty
    elif len(commits) > 1:
        cause, named = "made from several commits", commits
    else:
        return []
    return [f"**Not publishable: {cause} (commit {', '.join(named)}). Run it again from a clean tree.**\n"]


def cell_table(rows, layout):
    header = ["cell", *(axis.title for axis in layout.axes), "scored tokens", "seconds", "tokens/s", "TFLOP/s", "peak MB"]
    body = []
    for key, group in layout.groups(rows, layout.axes):
        for row in group:
            scored = max((entry.get("count") or 0 for entry in row["metrics"].values()), default=0)
            measured_costs = [(row["seconds"], 1, ".2f"), (row["tokens_per_second"], 1, ".0f"), (row["model_tflops_per_second"], 1, ".3f"),
                              (row["peak_bytes"], 1e-6, ".0f")]
            costs = ["" if cost is None else format(cost * unit, digits) for cost, unit, digits in measured_costs]  # tasks alone have no tokens/s
            body.append([f"`{row['id']}`", *key, scored, *costs])
    return markdown(header, body)


def metric_plot(rows, metric, out):
    """Returns Markdown lines, and writes their plot; a search's controls with scales are only in report_search's plot."""
    controls = {cell for row in rows for name, cell in row.get("controls", {}).items() if name not in ("full precision", "unscaled")}
    rows = [row for row in rows if row["id"] not in controls]
    layout = Layout(rows)
    lines = len(layout.groups(rows, layout.lines))
    if layout.x and lines > MOST_LINES:
        return [f"*{lines} lines would be too many for a plot.*\n"]
    file = metric.replace("/", "_")
    units = "questions" if "/" in metric else "documents"
    write_plot((plot_against_x if layout.x else plot_points)(rows, layout, metric), out, file)
    return [f"![{metric}]({file}.png)\n",
            f"*{metric}; bars: 95 % intervals over {units}, and over rounding draws where there are several. Also as [SVG]({file}.svg).*\n"]


def write_report(results, options, out):
    """Writes the report of a results folder and returns its path; options: of `qroar show`."""
    rows, cells = read_rows(results, options), read_rows(results, [*options, "--draws"])  # means over rounding draws, and the draws
    layout = Layout(rows)
    finished = [row for row in rows if row["status"] == "ok"]
    failed = [row for row in rows if row["status"] != "ok"]
    has_text = any("data" in row["config"] for row in finished)
    note = ERROR_NOTE.format(units="documents" if has_text else "questions")
    text = [f"# {rows[0]['experiment']}\n", *not_publishable(cells), f"{len(finished)} cells finished, {len(failed)} failed. {note}\n", read_caption(results, options)]
    metrics = dict.fromkeys(name for row in finished for name in row["metrics"])
    # Accuracies by length are shown in the heat map of their task.
    for metric in [name for name in metrics if LOGARITHM_OF.get(name) not in metrics and not re.search(r"/accuracy_\d+$", name)]:
        text += [f"## {metric}\n", metric_table(rows, layout, metric), *metric_plot(finished, metric, out)]
    windows = [axis for axis in layout.axes if axis.name == LENGTH and len(axis.labels) > 1]
    beside = [axis for axis in layout.axes if axis not in windows and axis.varies]
    if has_text:
        text += report_pareto.section(finished, layout, "perplexity" if "perplexity" in metrics else "nll", measured, out)
    for axes in report_interaction.pairs(finished):
        found = json.loads(show(results, "--interaction", ",".join(axes), "--format", "json", *options))
        text += report_interaction.section(axes, found, out)
    text += report_search.section([(joined(beside, key[len(windows):]), "".join(f"{axis.of(row)} tokens" for axis in windows), row)
                                   for key, group in layout.groups(finished, windows + beside) for row in group], out)
    folders = [(row["id"], joined(layout.axes, key) or "the experiment", results / "cells" / row["id"] / "diagnostics")
             for key, group in layout.groups(finished, layout.axes) for row in group]
    text += report_tasks.sections([(title, folder.parent) for _, title, folder in folders], out)
    text += report_diagnostics.sections(folders, out)
    if failed:
        body = [[f"`{row['id']}`", *(axis.of(row) for axis in layout.axes), row["error"]] for row in failed]
        text += ["## Failed cells\n", markdown(["cell", *(axis.title for axis in layout.axes), "error"], body)]
    if finished:
        text += ["## Cells\n", cell_table(finished, layout)]
    hidden = [axis.name for axis in layout.axes]
    text += ["## Where the numbers come from\n", markdown(["environment", ""], provenance(cells, "environment", [])),
             markdown(["config, beside the axes", ""], provenance(cells, "config", hidden))]
    path = out / "report.md"
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("results", metavar="RESULTS_DIR", type=Path, help="folder that `qroar run` wrote")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write (default: RESULTS_DIR)")
    parser.add_argument("--all", action="store_true", help="also the rows of cells that the plan no longer has, marked")
    arguments = parser.parse_args()
    options = ["--all"] if arguments.all else []
    out = arguments.out or arguments.results
    out.mkdir(parents=True, exist_ok=True)
    print(write_report(arguments.results, options, out))


if __name__ == "__main__":
    main()
