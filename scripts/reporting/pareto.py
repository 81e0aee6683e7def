"""The section on loss against size: bits per weight, or per number in the cache, and the rows that nothing smaller beats
over the same text, windows and model."""

import math

from .axes import LENGTH, joined
from .charts import chart, panel_of
from .content import Section, Table, Text
from .labels import cut
from .tables import SIZES, sizes

AXES = {"bits_per_weight": "bits per weight", "bits_per_cached_value": "bits per cached number"}  # short enough for a figure
MOST_ROWS = 60
MEASURED_ON = ("model", "data", "windows")  # axes whose values have losses of their own, none better than another's
NEAR = 0.06  # of the width; labels of points nearer than this share a column
LINE = 0.075  # of the height, that a label takes


def frontier(points):
    """points: [(size, loss, ...)].  Returns those that no other point of the same or a smaller size is as good as."""
    best, kept = float("inf"), []
    for point in sorted(points, key=lambda point: point[:2]):
        if point[1] < best:
            best = point[1]
            kept.append(point)
    return kept


def spread(values, gap, low, high):
    """Returns where labels of ascending values stand: as near as possible, `gap` apart, within low and high."""
    places = []
    for value in values:
        places.append(max(value, places[-1] + gap) if places else max(value, low))
    limit = high
    for number in reversed(range(len(places))):
        places[number] = min(places[number], limit)
        limit = places[number] - gap
    return places


def labelled(best, low, high, span):
    """best: [(size, shown value, number)] of the frontier; span: of the logarithms of all sizes.  Returns labels that do not overlap: points of about one
    size share a column of numbers."""
    clusters = []
    for point in best:
        if clusters and math.log(point[0] / clusters[-1][-1][0]) < NEAR * span:
            clusters[-1].append(point)
        else:
            clusters.append([point])
    labels = []
    for cluster in clusters:
        at = cluster[-1][0] * math.exp((0.035 if cluster is not clusters[-1] or len(clusters) == 1 else -0.07) * span)
        ordered = sorted(cluster, key=lambda point: point[1])
        places = spread([value - 0.04 * (high - low) for _, value, _ in ordered], LINE * (high - low), low + LINE / 2 * (high - low), high)
        labels += [{"at": at, "shown": place, "label": str(number)} for place, (*_, number) in zip(places, ordered)]
    return labels


def pareto(found):
    """A figure and a table of each size in which rows differ; none where schemes differ, whose losses are no matter of size."""
    rows, layout, places, parts = found.shown, found.places.layout, found.places, []
    with_text = [row for row in rows if "data" in row["config"]]
    if not with_text or any(axis.varies and axis.name.split(".")[0] == "rope" for axis in layout.axes):
        return Section("pareto", "Loss against size", [])
    metric = "perplexity" if any("perplexity" in row["metrics"] for row in rows) else "nll"
    across = [axis for axis in layout.axes if axis.varies and axis.name.split(".")[0] in MEASURED_ON]
    down = [axis for axis in layout.axes if axis.varies and axis not in across]
    key_of = lambda row: tuple(axis.of(row) for axis in down)  # noqa: E731
    lines = [key for key, _ in layout.groups(rows, down)]
    for size in sizes(rows):
        panels, best, of_rows = [], {}, [row[size] for row in rows if row.get(size) is not None]
        for labels, group in layout.groups(rows, across):
            own = [
                (row[size], row["metrics"][metric]["value"], lines.index(key_of(row)) + 1, row)
                for row in group
                if row.get(size) is not None and (row["metrics"].get(metric) or {}).get("value") is not None
            ]
            title = " · ".join(f"{text} tokens" if axis.name == LENGTH else axis.said(text) for axis, text in zip(across, labels) if text)
            best[" · ".join(filter(None, labels)) or "yes"] = {point[2] for point in frontier(own)}
            panels.append(panel(places, cut(title), own, metric, AXES[size], math.log(max(of_rows) / min(of_rows))))
        title = f"{metric} against {SIZES[size]}"
        note = (
            "The line joins, with their numbers in the table, the rows that no row of their size or below is as good as, by their values "
            "alone; differences and their intervals are "
            "above."
        )
        figure = chart(places, f"pareto_{size}", title, note, panels, metric, metric, x_logarithmic=True, apart=False, interpolation="step-after") if len(lines) <= MOST_ROWS else None
        body = [
            [
                number,
                joined(down, key) or "the experiment",
                next((f"{row[size]:.4g}" for row in rows if key_of(row) == key and row.get(size) is not None), ""),
                ", ".join(name for name, members in best.items() if number in members),
            ]
            for number, key in enumerate(lines, 1)
        ]
        header = ["", "row", SIZES[size], "best at its size or below" + (f" ({', '.join(axis.title for axis in across)})" if across else "")]
        parts += [figure or Text(f"{title}: {len(lines)} rows are too many for a figure."), Table(header, [("", body)], title=title, name=f"pareto_{size}")]
    return Section("pareto", "Loss against size", parts)


def panel(places, title, own, metric, x_title, span):
    """own: [(size, value, number, row)]; span: of the logarithms of all sizes."""
    points = []
    for size, value, _, row in sorted(own, key=lambda point: point[:3]):
        points.append(
            places.look(row)
            | {
                "x": size,
                "value": value,
                "low": value,
                "high": value,
                "text": row["texts"].get(metric, ""),
                "count": row["metrics"][metric].get("count") or "",
                "joined": False,
            }
        )
    if not points:
        return panel_of(title, [])
    best = frontier(own)

    def labels(scale, low, high):
        inside = [(size, scale.into(min(max(value, low), high)), number) for size, value, number, _ in best]
        return [label | {"shown": scale.back(label["shown"])} for label in labelled(inside, scale.into(low), scale.into(high), span)]

    return panel_of(title, points, x_title, steps=[{"at": point[0], "shown": point[1]} for point in best], labels=labels)
