"""The section of scripts/report.py on interactions: what a quantizer costs under a scheme beyond what it costs without, as `qroar show
--interaction` computes it."""
import textwrap

from matplotlib import pyplot, ticker
from report_axes import LENGTH
from report_style import STYLES, markdown, write_plot

SCHEME, QUANTIZERS = "rope", ("quant", "kv", "rotation")
MOST_LINES = 40


def pairs(rows):
    """Returns the pairs of axes whose interaction these rows have: the scheme with each way to quantize that varies."""
    levels = lambda axis: {row["labels"][axis] for row in rows if axis in row["labels"]}  # noqa: E731
    in_config = lambda axis: any(axis in row["config"] and axis not in row["axes"] for row in rows)  # noqa: E731
    varies = lambda axis: len(levels(axis)) + (bool(levels(axis)) and in_config(axis)) > 1  # noqa: E731
    return [(SCHEME, axis) for axis in QUANTIZERS if varies(SCHEME) and varies(axis)]


def figure_of(lines, panels, effects):
    """effects: {(line, panel): effect}; a filled marker is an effect that survives among all comparisons."""
    longest = max(len(line) for line in lines)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(0.9 + 0.075 * longest + 2.6 * len(panels), 1.1 + 0.3 * len(lines)), sharey=True,
                                       squeeze=False)
    schemes = list(dict.fromkeys(line.split(" · ")[0] for line in lines))
    for axes, panel in zip(all_axes[0], panels):
        for place, line in enumerate(lines):
            effect = effects.get((line, panel), {})
            if effect.get("value") is None:
                continue
            color, marker = STYLES[schemes.index(line.split(" · ")[0]) % len(STYLES)]
            ends = [effect["low"], effect["high"]]
            reach = [[0], [0]] if None in ends else [[effect["value"] - ends[0]], [ends[1] - effect["value"]]]
            axes.errorbar(effect["value"], place, xerr=reach, color=color, marker=marker, markersize=5, capsize=2.5,
                          markerfacecolor=color if effect["survives"] else "white")
        axes.axvline(0, color="0.4", linewidth=1, zorder=0)
        axes.set_title(panel, fontsize=10)
        axes.tick_params(labelsize=9)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(4, steps=(1, 2, 5, 10)))
    all_axes[0][0].set_yticks(range(len(lines)), [textwrap.fill(line, 60) for line in lines])
    all_axes[0][0].set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel("interaction (nats per token)", fontsize=10)
    return figure


def section(axes, found, out):
    """Returns Markdown lines, and writes interaction_AXIS.png and .svg.  `found`: what `show --interaction --format json` prints for `axes`."""
    whole = [effect for effect in found if effect["metric"] == "nll" and "positions" not in effect]
    if not whole:
        return []
    beside = [axis for axis in dict.fromkeys(name for effect in whole for name in effect["labels"]) if axis not in (*axes, LENGTH)]
    line_of = lambda effect: " · ".join(effect["labels"].get(axis, "") for axis in (*axes, *beside) if effect["labels"].get(axis))  # noqa: E731
    panel_of = lambda effect: f"{effect['labels'][LENGTH]} tokens" if LENGTH in effect["labels"] else ""  # noqa: E731
    effects = {(line_of(effect), panel_of(effect)): effect for effect in whole}
    lines, panels = (list(dict.fromkeys(key[place] for key in effects)) for place in (0, 1))
    show = lambda effect: effect.get("reason") or (  # noqa: E731
        f"{effect['value']:+.4f}" + ("" if effect["low"] is None else f" [{effect['low']:+.4f}, {effect['high']:+.4f}]") + "*" * effect["survives"])
    detectable = lambda line: ", ".join(f"{effects[line, panel]['detectable']:.4f}" for panel in panels  # noqa: E731
                                        if effects.get((line, panel), {}).get("detectable") is not None)
    table = [[line, *(show(effects[line, panel]) if (line, panel) in effects else "" for panel in panels), detectable(line)] for line in lines]
    compared = [effect for effect in found if effect.get("p_value") is not None]
    between = " and ".join(f"{axis} {level}" for axis, level in whole[0]["between"].items())
    text = [f"## Interaction of {axes[0]} and {axes[1]}\n", markdown(["", *(panel or "interaction" for panel in panels), "detectable"], table)]
    if len(lines) <= MOST_LINES:
        name = f"interaction_{axes[1]}"
        write_plot(figure_of(lines, panels, effects), out, name)
        text.append(f"![interaction of {axes[0]} and {axes[1]}]({name}.png)\n")
    return [*text, f"*What is lost together beyond what is lost apart, against {between}: a difference of differences of mean NLL (nats per token) with 95 % "
            f"intervals. Above 0 they cost more together. Detectable: the smallest effect that is found with a probability of 80 %. Of {len(compared)} "
            f"comparisons (by position and of other metrics, too), {sum(effect['survives'] for effect in compared)} survive Benjamini-Hochberg at 5 % "
            "(star, filled marker). All of them, by position: `qroar show RESULTS_DIR --interaction " + ",".join(axes) + "`.*\n"]
