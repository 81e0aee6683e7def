"""The section of scripts/report.py on loss against size: bits per weight, or per number in the cache, and the rows that nothing smaller beats."""
from matplotlib import pyplot
from report_axes import LENGTH, joined
from report_style import STYLES, markdown, scale_values, write_plot

SIZES = {"bits_per_weight": "bits per weight", "bits_per_cached_value": "bits per number in the cache"}
MOST_ROWS = 40


def sizes(rows):
    """Returns the sizes in which rows differ."""
    return [name for name in SIZES if len({row[name] for row in rows if row.get(name) is not None}) > 1]


def frontier(points):
    """points: [(size, loss, ...)].  Returns those that no other point of the same or a smaller size is as good as."""
    best, kept = float("inf"), []
    for point in sorted(points, key=lambda point: point[:2]):
        if point[1] < best:
            best = point[1]
            kept.append(point)
    return kept


def draw(axes, points, size):
    for bits, value, down, up, number in points:
        color, marker = STYLES[(number - 1) % len(STYLES)]
        axes.errorbar(bits, value, [[down], [up]], color=color, marker=marker, markersize=5, markerfacecolor="white", capsize=2.5, elinewidth=0.8)
        axes.annotate(str(number), (bits, value), xytext=(5, 3), textcoords="offset points", fontsize=8)
    best = frontier(points)
    axes.step([point[0] for point in best], [point[1] for point in best], where="post", color="0.5", linewidth=1, zorder=0)
    axes.set_xlabel(SIZES[size], fontsize=10)
    scale_values(axes.yaxis, [point[1] for point in points])


def section(rows, layout, metric, measured, out):
    """Returns Markdown lines, and writes pareto_SIZE.png and .svg; none where schemes differ, whose losses are no matter of size.
    measured(row, metric): (value, down, up) or None."""
    text = []
    if any(axis.varies and axis.name.split(".")[0] == "rope" for axis in layout.axes):
        return text
    for size in sizes(rows):
        across = next((axis for axis in layout.axes if axis.name == LENGTH and axis.varies), None)
        down = [axis for axis in layout.axes if axis is not across and axis.varies]
        lines = [key for key, _ in layout.groups(rows, down)]
        panels = layout.groups(rows, [across] if across else [])
        points = {title: [(row[size], *measured(row, metric), lines.index(key) + 1) for key, group in layout.groups(group_rows, down)
                          for row in group if row.get(size) is not None and measured(row, metric)] for title, group_rows in panels}
        best = {title: {point[-1] for point in frontier(found)} for title, found in points.items()}
        body = [[number, joined(down, key) or "the experiment",
                 *dict.fromkeys(f"{row[size]:.4g}" for row in rows if tuple(axis.of(row) for axis in down) == key and row.get(size) is not None),
                 ", ".join(title[0] if title else "yes" for title, members in best.items() if number in members)] for number, key in enumerate(lines, 1)]
        text += [f"## {metric} against {SIZES[size]}\n", markdown(["", "row", SIZES[size], "best at its size or below" + (" (window length)" if across else "")], body)]
        if len(lines) > MOST_ROWS:
            text.append(f"*{len(lines)} rows would be too many for a plot.*\n")
            continue
        figure, all_axes = pyplot.subplots(1, len(panels), figsize=(1 + 3.6 * len(panels), 3.8), squeeze=False)
        for axes, (title, found) in zip(all_axes[0], points.items()):
            draw(axes, found, size)
            axes.set_title(f"{title[0]} tokens" if title else "", fontsize=11)
        all_axes[0][0].set_ylabel(metric)
        write_plot(figure, out, f"pareto_{size}")
        text.append(f"![{metric} against {SIZES[size]}](pareto_{size}.png)\n\n*Numbers are those of the table; bars are 95 % intervals; the line joins the rows "
                    f"that no row of their size or below is as good as, by their values alone. Also as [SVG](pareto_{size}.svg).*\n")
    return text
