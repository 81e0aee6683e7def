"""The sections on retrieval over length and depth (cells/*/tasks/*.csv) and on loss by position (cells/*/metrics/nll_by_position.csv)."""

from .axes import LENGTH
from .charts import chart, heat_map, panel_of
from .configured import number_at
from .content import Note, Section
from .labels import slug
from .rows import read_csv

MOST_PANELS = 12


BESIDE = ("rope", "quant", "kv", "rotation")


def titled(places, rows):
    """Returns {cell: name of at most 24 characters, of scheme, quantizer and the rest}."""
    axes = [axis for axis in places.layout.axes if axis.varies and axis.name not in BESIDE]
    keys = {row["id"]: places.key(row, axes, len(places.quantizers) > 1, len(places.schemes) > 1) for row in rows}
    titles = places.titles(keys.values())
    return {cell: titles[key] for cell, key in sorted(keys.items(), key=lambda one: list(titles).index(one[1]))}


def answers(lines):
    """Returns {(length, depth): answers} of a retrieval; {} of another task."""
    if not lines or not {"length", "depth", "right"} <= set(lines[0]):
        return {}
    found = {}
    for line in lines:
        found.setdefault((int(line["length"]), float(line["depth"])), []).append(int(line["right"]))
    return found


def heat_points(row, said, found):
    points = []
    for depth in sorted({depth for _, depth in found}):
        for length in sorted({length for length, _ in found}):
            right = found.get((length, depth), [])
            if right:
                percent = 100 * sum(right) / len(right)
                points.append(
                    {
                        "column": f"{length / 1024:g}K" if length % 512 == 0 else str(length),
                        "row": f"{depth:g}",
                        "value": percent,
                        "label": f"{percent:.0f}",
                        "dark": percent < 60,
                        "few": False,
                        "dot": False,
                        "what": said,
                        "text": f"{sum(right)} of {len(right)}",
                        "count": len(right),
                        "cell": row["id"],
                    }
                )
    return points


def tasks(found):
    """A map of each task that hides something at a depth, with a panel for each cell."""
    maps = {}
    for row in found.shown:
        for path in sorted(found.folder(row).glob("tasks/*.csv")):
            if right := read_csv(path, answers):
                maps.setdefault(path.stem, {})[row["id"]] = heat_points(row, found.places.said(row), right)
    drawn = {cell for own in maps.values() for cell in own}
    titles = titled(found.places, [row for row in found.shown if row["id"] in drawn])
    parts = []
    for name, own in maps.items():
        panels = [(titles[cell], "", own[cell]) for cell in titles if cell in own]
        more = f" The first {MOST_PANELS} of {len(panels)} rows." if len(panels) > MOST_PANELS else ""
        parts.append(
            heat_map(
                f"task_{slug(name)}",
                f"{name}: accuracy over length and depth",
                f"Percent right; the number is hidden at that depth (0: the beginning) of a text of that length.{more}",
                panels[:MOST_PANELS],
                "",
                {"scheme": "viridis", "domain": [0, 100]},
                {"values": [0, 50, 100], "title": "right (%)"},
                "depth",
                "length (tokens)",
            )
        )
    return Section("tasks", "Retrieval", parts)


def curve(lines):
    """Returns [(place, name in `show`'s curve, tokens)]; values there are means over draws."""
    return [((int(line["begin"]) + int(line["end"])) / 2, f"nll_by_position/{line['begin']}-{line['end']}", line["tokens"]) for line in lines]


def positions(found):
    """Mean NLL by the place in the window: a panel for each quantizer and whatever else varies, its lines the schemes."""
    places, panels = found.places, {}
    axes = [axis for axis in places.layout.axes if axis.varies and axis.name not in BESIDE]
    rows = [row for row in found.shown if (found.folder(row) / "metrics/nll_by_position.csv").is_file()]
    key = lambda row: places.key(row, axes, len(places.quantizers) > 1 and len(places.schemes) > 1)  # noqa: E731
    lengths = {length for row in rows if (length := number_at(row["config"], LENGTH)) is not None}
    note = ""
    if len(lengths) > 1 and len(set(map(key, rows))) > MOST_PANELS:
        rows = [row for row in rows if number_at(row["config"], LENGTH) == max(lengths)]
        axes = [axis for axis in axes if axis.name != LENGTH]
        note = f" In windows of {max(lengths)} tokens, the longest; curves of the others are in their cells' folders."
    titles = places.titles(map(key, rows))
    for row in rows:
        look = places.look(row)
        for at, name, tokens in read_csv(found.folder(row) / "metrics/nll_by_position.csv", curve):
            one = row.get("curve", {}).get(name)
            if one is None:
                continue
            value = one["value"]
            low, high = (value if one[end] is None else one[end] for end in ("low", "high"))
            panels.setdefault(titles[key(row)], []).append(
                look | {"x": at, "value": value, "low": low, "high": high, "text": f"{value:.4f} [{low:.4f}, {high:.4f}]", "count": tokens}
            )
    if not panels:
        return Section("positions", "Loss by position", [])
    note = f"Mean NLL of tokens by their place in what the model sees; bands: 95 % over documents, and over rounding draws where there are several.{note}"
    figure = chart(
        places,
        "nll_by_position",
        "Loss by position",
        note,
        [panel_of(title, panels.get(title, []), "place in the window") for title in titles.values()],
        "NLL (nats per token)",
        "NLL",
        bands=True,
    )
    return Section(
        "positions", "Loss by position", [figure or Note(f"{len(panels)} panels would be too many for a figure.")]
    )
