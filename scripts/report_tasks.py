"""The sections of scripts/report.py on answers and losses by position: retrieval over length and depth from cells/<id>/tasks/*.csv, losses by
position from cells/<id>/metrics/nll_by_position.csv."""
import math
import textwrap

from matplotlib import pyplot, ticker
from report_axes import MOST_LINES
from report_diagnostics import read_table
from report_style import STYLES, write_plot

MOST_PANELS = 12


def plot_retrieval(cells):
    """Plots one heat map of accuracy per cell; cells: [(title, table)]."""
    columns = min(3, len(cells))
    lines = math.ceil(len(cells) / columns)
    figure, all_axes = pyplot.subplots(lines, columns, figsize=(1.4 + 3.1 * columns, 0.6 + 2.6 * lines), squeeze=False, sharex=True, sharey=True)
    for axes in all_axes.flat[len(cells):]:
        axes.set_visible(False)
    for axes, (title, table) in zip(all_axes.flat, cells):
        lengths = sorted({int(line["length"]) for line in table})
        depths = sorted({float(line["depth"]) for line in table})
        right = {(length, depth): [] for length in lengths for depth in depths}
        for line in table:
            right[int(line["length"]), float(line["depth"])].append(int(line["right"]))
        percent = [[100 * sum(found) / len(found) if (found := right[length, depth]) else math.nan for length in lengths] for depth in depths]
        image = axes.imshow(percent, cmap="viridis", vmin=0, vmax=100, aspect="auto", origin="upper")
        axes.grid(visible=False)
        axes.set_xticks(range(len(lengths)), [f"{length / 1024:g}K" if length % 512 == 0 else str(length) for length in lengths], fontsize=9)
        axes.set_yticks(range(len(depths)), [f"{depth:g}" for depth in depths], fontsize=9)
        axes.set_title(textwrap.fill(title, 34), fontsize=10)
        for row, values in enumerate(percent):
            for column, value in enumerate(values):
                if math.isfinite(value):
                    axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="black" if value > 60 else "white")
    figure.supxlabel("length (tokens)", fontsize=10)
    figure.supylabel("depth (0: beginning)", fontsize=10)
    figure.colorbar(image, ax=all_axes, label="accuracy (%)", shrink=0.8)
    return figure


def plot_positions(cells):
    """Plots mean NLL by the position in the window, one line per cell."""
    figure, axes = pyplot.subplots(figsize=(7.2, 3.6))
    for place, (title, table) in enumerate(cells):
        color, marker = STYLES[place % len(STYLES)]
        x = [(int(line["begin"]) + int(line["end"])) / 2 for line in table]
        y, low, high = ([float(line[key]) for line in table] for key in ("nll", "low", "high"))
        axes.plot(x, y, color=color, linestyle=["-", "--", ":"][place // len(STYLES) % 3], linewidth=1.3, label=title)
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=(1, 2, 4, 8, 10)))
    axes.set_xlabel("place in the window (tokens)")
    axes.set_ylabel("mean NLL (nats per token)")
    if len(cells) > 1:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def sections(cells, out):
    """Returns Markdown lines and writes plots to `out`.  cells: [(title, folder of the cell)] in reading order."""
    text = []
    tables = {}
    for title, folder in cells:
        for path in sorted(folder.glob("tasks/*.csv")):
            table = read_table(path)
            if table and {"length", "depth", "right"} <= set(table[0]):
                tables.setdefault(path.stem, []).append((title, table))
    for name, found in tables.items():
        write_plot(plot_retrieval(found[:MOST_PANELS]), out, f"task_{name}")
        more = f" The first {MOST_PANELS} of {len(found)} cells." if len(found) > MOST_PANELS else ""
        text += [f"## {name}: accuracy over length and depth\n", f"![{name}](task_{name}.png)\n",
                 f"*In percent; the number is hidden at that depth of a text of that length.{more} Also as [SVG](task_{name}.svg).*\n"]
    curves = [(title, read_table(path)) for title, folder in cells if (path := folder / "metrics/nll_by_position.csv").exists()]
    if len(curves) > MOST_LINES:
        text += ["## Loss by position\n", f"*{len(curves)} lines would be too many for a plot; `cells/ID/metrics/nll_by_position.csv` has them.*\n"]
    elif curves:
        write_plot(plot_positions(curves), out, "nll_by_position")
        text += ["## Loss by position\n", "![loss by position](nll_by_position.png)\n",
                 "*Mean NLL of tokens by their place in what the model sees; bands: 95 % over documents, given this rounding (none below 4). Also as "
                 "[SVG](nll_by_position.svg).*\n"]
    return text
