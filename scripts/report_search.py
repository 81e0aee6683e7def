"""The section of scripts/report.py on searched scales: each search's gain beside its controls, as `qroar show` prints it."""
import csv
import math

from matplotlib import pyplot, ticker
from report_style import STYLES, markdown, write_plot

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


def figure_of(lines, panels, searches):
    """searches: {(line, panel): differences}."""
    longest = max(len(line) for line in lines)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(0.9 + 0.075 * longest + 3.7 * len(panels), 1.6 + 0.5 * len(lines)), sharey=True,
                                       squeeze=False)
    for axes, panel in zip(all_axes[0], panels):
        for place, name in enumerate(COMPARISONS):
            points = [(row, *found[name]) for row, line in enumerate(lines) if name in (found := searches.get((line, panel), {}))]
            if points:
                y, x, reach = zip(*points)
                axes.errorbar(x, [row + 0.18 * (place - 1.5) for row in y], xerr=reach, color=STYLES[place][0], marker=STYLES[place][1],
                              markerfacecolor="white", markersize=5, linestyle="none", capsize=2.5)
        axes.axvline(0, color="0.5", linewidth=0.8, zorder=0)
        axes.set_title(panel, fontsize=10)
        axes.tick_params(labelsize=9)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=(1, 2, 5, 10)))
    all_axes[0][0].set_yticks(range(len(lines)), [line or "the experiment" for line in lines])
    all_axes[0][0].set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel("Δ mean NLL against scales of 1 (nats per token)", fontsize=10)
    marks = [pyplot.Line2D([], [], color=color, marker=marker, markerfacecolor="white", linestyle="none", label=name)
             for name, (color, marker, *_) in zip(COMPARISONS, STYLES)]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(COMPARISONS) if len(panels) > 1 or longest > 20 else 2, frameon=False,
                  fontsize=9)
    return figure


def section(groups, folder, out):
    """Markdown lines, and searched.png and .svg in `out`; empty where nothing was searched.  `groups`: (labels of the row beside the window
    length, the window length's or "", row) in reading order."""
    finished = {row["id"] for _, _, row in groups}
    searches = {(line, panel): differences(folder, row, finished) for line, panel, row in groups if "controls" in row}
    if not searches:
        return []
    lines, panels = (list(dict.fromkeys(key[place] for key in searches)) for place in (0, 1))
    write_plot(figure_of(lines, panels, searches), out, "searched")
    show = lambda pair: f"{pair[0]:+.4f} [{pair[0] - pair[1]:+.4f}, {pair[0] + pair[1]:+.4f}]" if pair else ""  # noqa: E731
    table = [[line, panel, *(show(found.get(name)) for name in COMPARISONS)] for (line, panel), found in searches.items()]
    header = ["searched", "", *COMPARISONS]
    if panels == [""]:
        table, header = [line[:1] + line[2:] for line in table], header[:1] + header[2:]
    return ["## Searched scales and their controls\n", markdown(header, table), "![searched scales](searched.png)\n",
            "*Paired differences in mean NLL (nats per token) over the same windows with 95 % intervals (Student's t over windows): what the "
            "scales that a search found do to the quantized model, what the same scales do to the full-precision one (an attention temperature "
            "does this much), what is left of the gain beyond that, and what random scales as far from 1 do. Below 0 is better. Also as "
            "[SVG](searched.svg); with the scales: `qroar show`.*\n"]
