"""The section on interactions: what is lost together beyond what is lost apart, over whole windows and by position in them."""

from .axes import LENGTH
from .charts import chart, panel_of
from .content import Cell, Section, Table, Text
from .effects import FILLED, part, smallest
from .points import quantizer_of, scheme_of
from .rows import compared, said

UNIT = "interaction (nats/token)"


def whole_windows(found, effects):
    """Returns [(row, effect)] of the mean NLL over whole windows, of rows that have a place of their own."""
    return [(found.by_cell[one["id"]], one) for one in effects if is_shown(found, one) and "positions" not in one]


def by_position(found, effects):
    return [(found.by_cell[one["id"]], one) for one in effects if is_shown(found, one) and "positions" in one]


def is_shown(found, one):
    return one["metric"] == "nll" and one["id"] in found.by_cell and one["id"] not in found.hidden


def interactions(found):
    parts = []
    for axes, effects in found.interactions.items():
        if isinstance(effects, str):
            parts.append(Text(f"Interaction of {axes[0]} and {axes[1]}: none. {effects}"))
            continue
        whole = [(row, one, said(one)) for row, one in whole_windows(found, effects)]
        if not whole:
            continue
        family = compared(effects)
        between = " and ".join(f"{axis} {what}" for axis, what in whole[0][1]["between"].items())
        parts.append(Text(f"What is lost together beyond what is lost apart, against {between}."))
        note = (
            "A difference of differences of mean NLL. Above 0 they cost more together. "
            f"{sum(one['survives'] for one in family)} of {len(family)} comparisons (by position and of other metrics, too) survive. "
        )
        name, title = f"interaction_{axes[1]}", f"Interaction of {axes[0]} and {axes[1]}"
        parts += part(found, name, title, note + smallest(whole) + FILLED, whole, UNIT, "interaction", null=0)
        parts += positions(found, f"{name}_by_position", f"{title} by position in the window", by_position(found, effects))
    return Section("interactions", "Interactions", parts)


def positions(found, name, title, entries):
    """Returns the figure of [(row, effect of a part of the window)], with a panel for each quantizer and length, and a table for each length."""
    places, panels, tables = found.places, {}, {}
    axes = [axis for axis in places.layout.axes if axis.varies and axis.name in (LENGTH, *(axis.name for axis in places.rest_axes))]
    keys = {row["id"]: places.key(row, axes) for row, _ in entries}
    heads = places.titles(keys.values())
    for row, one in entries:
        first, end = one["positions"]
        value, key = one.get("value"), keys[row["id"]]
        columns, lines = tables.setdefault(row["config"].get("windows", {}).get("length"), ({}, {}))
        columns[end] = f"{first} to {end}"
        lines.setdefault((scheme_of(row), quantizer_of(row), places.rest(row, places.rest_axes)), {})[end] = Cell(said(one), "" if value is None else value)
        if value is not None:
            ends = {side: value if one.get(side) is None else one[side] for side in ("low", "high")}
            look = places.look(row) | {"full": bool(one.get("survives")), "text": said(one), "count": one.get("clusters") or ""}
            panels.setdefault(key, []).append(look | ends | {"x": (first + end) / 2, "value": value})
    if not panels:
        return []
    note = f"Of the tokens in each part of the window; x: the middle of the part. {FILLED}"
    made = [panel_of(head, panels[key], "place in the window", null=0) for key, head in heads.items() if key in panels]
    figure = chart(places, name, title, note, made, UNIT, "interaction")
    return [figure or Text(f"{title}: too many panels for a figure."), *(table_of(name, title, *one) for one in sorted(tables.items()))]


def table_of(name, title, length, columns_and_lines):
    columns, lines = columns_and_lines
    rest = any(key[2] for key in lines)
    body = [[*key[: 2 + rest], *(cells.get(end, "") for end in sorted(columns))] for key, cells in lines.items()]
    header = ["scheme", "quantizer", *["with"] * rest, *(columns[end] for end in sorted(columns))]
    return Table(header, [("", body)], title=f"{title}, windows of {length} tokens", name=f"{name}_{length}")
