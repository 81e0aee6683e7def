"""The sections on diagnostics: figures of cells/ID/diagnostics/TYPE.csv, a line for each cell in its scheme's colour and its quantizer's marker.

What a diagnostic does not depend on gives cells equal tables: these are drawn once.  A diagnostic that is not there is left out."""

import math

from .axes import joined
from .charts import chart, panel_of
from .content import Note, Section
from .diagnostic_kinds import KINDS, SIGNED
from .diagnostic_points import mean
from .labels import shortened, slug
from .rows import cells_of, read_csv
from .tail_maps import inflation
from .tasks import BESIDE

MOST_CELLS = 24


def points_of(look, values, positive):
    """positive: of magnitudes, of which none is drawn where all are 0."""
    points = []
    if positive and not any(value[0] if isinstance(value, tuple) else value for value in values.values()):
        return points
    for x, value in sorted(values.items()):
        value, low, high = value if isinstance(value, tuple) else (value,) * 3
        if math.isfinite(value):
            low, high = (end if math.isfinite(end) else value for end in (low, high))
            text = f"{value:.5g}" + (f" [{low:.4g}, {high:.4g}]" if low < high else "")
            points.append(look | {"x": x, "value": value, "low": low, "high": high, "text": text, "count": ""})
    return points


def lengths(lines):
    """Returns the trained length and the window, of the table `phase`; nothing where no pair turns."""
    turning = [line for line in lines if math.isfinite(float(line["wavelength_tokens"]))][:1]
    return [round(float(line[name]) * float(line["wavelength_tokens"])) for line in turning for name in ("wraps_trained", "wraps_target")]


def bound(lines):
    theory = {
        (float(line["angle_begin"]) + float(line["angle_end"])) / 2: float(line["theory"]) for line in lines if line["grid"] == "pair" and line["angle_begin"]
    }
    return [{"at": at, "shown": theory[at]} for at in sorted(theory)]


def rows_with(found, kind):
    return [row for row in found.finished if (found.folder(row) / f"diagnostics/{kind}.csv").is_file()]


def values_of(found, row, kind, panels):
    """Returns {x: value or (value, low, high)} for each panel; of several rounding draws the mean, and the outermost ends of their intervals
    where all have one."""
    paths = [found.results / "cells" / cell / f"diagnostics/{kind}.csv" for cell in cells_of(row)]
    tables = [read_csv(path, lambda lines: [points(lines) for *_, points, _ in panels]) for path in paths]
    return [{x: over_draws([draw[x] for draw in draws if x in draw]) for x in draws[0]} for draws in zip(*tables)]


def over_draws(values):
    if not isinstance(values[0], tuple):
        return mean(values)
    middle, low, high = zip(*values)
    known = all(end < other for end, other in zip(low, high))  # else a draw has no interval, and the range of values is none
    return (mean(middle), min(low), max(high)) if known else (mean(middle),) * 3


def of_draws(rows):
    return any(len(row.get("draws", [])) > 1 for row in rows)


def figure_of(found, kind, name, rows):
    """Returns a figure with a line for each of the rows whose table is another's no more."""
    heading, panels, unit, columns, note = KINDS[kind]
    drawn, seen, path_of = panels(), set(), lambda row: found.folder(row) / f"diagnostics/{kind}.csv"
    points = [[] for _ in drawn]
    if of_draws(rows):
        note += " Of several rounding draws: their mean, and the outermost ends of their intervals."
    for row in rows:
        values = values_of(found, row, kind, drawn)
        look = found.places.look(row)
        key = (look["scheme"], str(values))
        if key not in seen:
            seen.add(key)
            for own, of_panel in zip(points, values):
                own += points_of(look, of_panel, kind not in SIGNED)
    first = path_of(rows[0])
    extra = [{} for _ in drawn]
    if kind == "phase":
        extra[0] = {"levels": sorted(set(read_csv(first, lengths)))}
    elif kind == "anisotropy":
        extra[2:] = [{"steps": read_csv(first, bound)}] * 2
    made = []
    for (title, own_unit, x_title, _, null), own, more in zip(drawn, points, extra):
        made.append(panel_of(title, own, x_title, own_unit, null, steps=more.get("steps", ()), levels=more.get("levels", ())))
    return chart(
        found.places,
        name,
        heading,
        note,
        made,
        unit,
        heading,
        columns=columns,
        x_logarithmic=lambda panel: panel["x_title"] == "distance (tokens)",
        reach=math.inf,
        zeros=kind not in SIGNED,
    )


def diagnostics(found):
    """A section of its own for each kind of diagnostic that any cell has."""
    sections = []
    axes = [axis for axis in found.places.layout.axes if axis.varies and axis.name not in BESIDE]
    for kind, (heading, panels, *_) in KINDS.items():
        rows = rows_with(found, kind)
        if not rows:
            continue
        parts = [Note(f"The first {MOST_CELLS} of {len(rows)} rows; the others' tables are in their cells' folders.")] if len(rows) > MOST_CELLS else []
        rows = rows[:MOST_CELLS]
        if panels is None:
            if of_draws(rows):
                parts.append(Note("Of the first rounding draw of each row, given this rounding; the tables of the others are in their cells' folders."))
            parts += inflation(found, rows)
        else:
            groups = {}
            for row in rows:
                groups.setdefault(joined(axes, [axis.of(row) for axis in axes]), []).append(row)
            rests = shortened(groups)
            for rest, group in groups.items():
                figure = figure_of(found, kind, kind if len(groups) == 1 else f"{kind}_{slug(rests[rest])}", group)
                if figure and len(groups) > 1:
                    figure.title += f": {rest}"
                parts.append(figure or Note(f"Nothing to draw: nothing is off in {len(group)} cells." if kind in SIGNED else "Nothing to draw: 0 everywhere."))
        sections.append(Section(kind, heading, parts))
    return sections
