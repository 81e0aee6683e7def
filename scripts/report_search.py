"""The section of scripts/report.py on searched scales: each search's gain and its controls, as `qroar show` prints them."""
import math

from matplotlib import pyplot, ticker
from report_style import STYLES, markdown, write_plot


def differences(row):
    """Returns {comparison: (difference of mean NLL, low, high, survives)} of one search, for existing cells; NaN without an interval."""
    number = lambda value: math.nan if value is None else value  # noqa: E731
    return {name: (found["difference"], number(found["low"]), number(found["high"]), found["survives"])
            for name, found in row["searched"].items() if "reason" not in found}


def figure_of(lines, panels, searches, comparisons):
    """searches: {(line, panel): differences}."""
    longest = max(len(line) for line in lines)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(0.9 + 0.075 * longest + 3.7 * len(panels), 1.6 + 0.5 * len(lines)), sharey=True,
                                       squeeze=False)
    for axes, panel in zip(all_axes[0], panels):
        for place, name in enumerate(comparisons):
            color, marker = STYLES[place]
            for row, line in enumerate(lines):
                if name not in (found := searches.get((line, panel), {})):
                    continue
                value, low, high, survives = found[name]
                axes.errorbar(value, row + 0.72 / len(comparisons) * (place - (len(comparisons) - 1) / 2), xerr=[[value - low], [high - value]],
                              color=color, marker=marker, markerfacecolor=color if survives else "white", markersize=5, capsize=2.5)
        axes.axvline(0, color="0.5", linewidth=0.8, zorder=0)
        axes.set_title(panel, fontsize=10)
        axes.tick_params(labelsize=9)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=(1, 2, 5, 10)))
    all_axes[0][0].set_yticks(range(len(lines)), [line or "the experiment" for line in lines])
    all_axes[0][0].set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel("Δ mean NLL against scales of 1 (nats per token)", fontsize=10)
    marks = [pyplot.Line2D([], [], color=color, marker=marker, markerfacecolor="white", linestyle="none", label=name)
             for name, (color, marker, *_) in zip(comparisons, STYLES)]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(comparisons) if len(panels) > 1 or longest > 20 else 2, frameon=False,
                  fontsize=9)
    return figure


def section(groups, out):
    """Returns Markdown lines, and writes searched.png and .svg to `out`; empty where nothing was searched.
    `groups`: (labels of the row beside the window length, the window length's or "", row) in reading order."""
    searches = {(line, panel): differences(row) for line, panel, row in groups if "searched" in row}
    if not searches:
        return []
    lines, panels = (list(dict.fromkeys(key[place] for key in searches)) for place in (0, 1))
    comparisons = list(dict.fromkeys(name for found in searches.values() for name in found))
    write_plot(figure_of(lines, panels, searches, comparisons), out, "searched")
    show = lambda one: f"{one[0]:+.4f} [{one[1]:+.4f}, {one[2]:+.4f}]" + "*" * one[3] if one else ""  # noqa: E731
    table = [[line, panel, *(show(found.get(name)) for name in comparisons)] for (line, panel), found in searches.items()]
    header = ["searched", "", *comparisons]
    if panels == [""]:
        table, header = [line[:1] + line[2:] for line in table], header[:1] + header[2:]
    return ["## Searched scales and their controls\n", markdown(header, table), "![searched scales](searched.png)\n",
            "*Paired differences in mean NLL (nats per token) over the same windows with 95 % intervals over documents, and over rounding draws where "
            "there are several; a star and a filled marker where one survives Benjamini-Hochberg at 5 % among all of the table: what the "
            "scales that a search found do to the quantized model, what the same scales do to the full-precision one (an attention temperature "
            "does this much), what is left of the gain beyond that, what one scale for all bands does and what bands gain beyond it, and what "
            "random scales as far from 1 do (the mean over directions, whose spread is in its interval). Below 0 is better. Also as [SVG](searched.svg); "
            "with the scales: `qroar show`.*\n"]
