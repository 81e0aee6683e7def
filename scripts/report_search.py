"""The section of scripts/report.py on searched scales: each search's gain beside its controls, as `qroar show` prints it."""
import csv
import math

from matplotlib import pyplot
from report_style import STYLES, write_plot

FOUND, SAME = ("found", "unscaled"), ("full precision, same scales", "full precision")
COMPARISONS = {"quantized, found g": [FOUND], "full precision, same g": [SAME], "the first less the second": [FOUND, SAME],
               "quantized, random g": [("random scales", "unscaled")]}
Z = 1.959963985  # of the normal distribution's 95 % interval


def t_975(degrees):
    """Student's 0.975 quantile by Fisher's expansion about the normal one (src/base/statistics.h)."""
    if degrees == 1:
        return 12.7062
    z, v = Z, degrees
    return (z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
            + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4))


def windows_of(folder, cell):
    with open(folder / "cells" / cell / "windows.csv", encoding="utf-8", newline="") as file:
        return [(line["document"], line["start"], int(line["tokens"]), float(line["nll_sum"])) for line in csv.DictReader(file)]


def paired(folder, pairs):
    """(difference of mean NLL in a pair of cells, less that in a second one, half of its 95 % interval) by the ratio estimator over windows
    that all have scored; None for others."""
    cells = [windows_of(folder, cell) for pair in pairs for cell in pair]
    windows = list(zip(*cells))
    if not windows or any(cell[:3] != window[0][:3] for window in windows for cell in window):
        return None
    differences = [sum(sign * cell[3] for sign, cell in zip((1, -1, -1, 1), window)) for window in windows]
    lengths, count = [window[0][2] for window in windows], len(windows)
    mean = sum(differences) / sum(lengths)
    squares = sum((difference - length * mean) ** 2 for difference, length in zip(differences, lengths))
    return mean, t_975(count - 1) * math.sqrt(squares * count / (count - 1)) / sum(lengths) if count > 1 else math.nan


def differences(folder, row, finished):
    """{comparison: (difference, half interval)} of one search, where its cells are there."""
    cells, found = {"found": row["id"]} | row["controls"], {}
    for name, pairs in COMPARISONS.items():
        ids = [[cells.get(cell) for cell in pair] for pair in pairs]
        if all(cell in finished for pair in ids for cell in pair) and (pair := paired(folder, ids)):
            found[name] = pair
    return found


def figure_of(searches):
    """searches: [(label, differences)] in reading order."""
    longest = max(len(label) for label, _ in searches)
    figure, axes = pyplot.subplots(figsize=(4.6 + 0.075 * longest, 1.4 + 0.5 * len(searches)))
    for place, name in enumerate(COMPARISONS):
        points = [(row, *found[name]) for row, (_, found) in enumerate(searches) if name in found]
        if points:
            y, x, reach = zip(*points)
            axes.errorbar(x, [row + 0.18 * (place - 1.5) for row in y], xerr=reach, color=STYLES[place][0], marker=STYLES[place][1],
                          markerfacecolor="white", markersize=5, linestyle="none", capsize=2.5, label=name)
    axes.axvline(0, color="0.5", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(searches)), [label for label, _ in searches], fontsize=9)
    axes.set_ylim(len(searches) - 0.5, -0.5)
    axes.set_xlabel("Δ mean NLL against scales of 1 (nats per token)", fontsize=10)
    figure.legend(loc="outside upper center", ncols=len(COMPARISONS), frameon=False, fontsize=9)
    return figure


def section(rows, label_of, folder, out):
    """Markdown lines, and searched.png and .svg in `out`; empty where nothing was searched."""
    finished = {row["id"] for row in rows}
    searches = [(label_of(row), differences(folder, row, finished)) for row in rows if "controls" in row]
    if not searches:
        return []
    write_plot(figure_of(searches), out, "searched")
    return ["## Searched scales and their controls\n", "![searched scales](searched.png)\n",
            "*Paired differences over the same windows with 95 % intervals (Student's t over windows): what the scales that a search found "
            "do to the quantized model, what the same scales do to the full-precision one (an attention temperature does this much), what is "
            "left of the gain beyond that, and what random scales as far from 1 do. Left of 0 is better. Also as [SVG](searched.svg); the "
            "numbers: `qroar show`.*\n"]
