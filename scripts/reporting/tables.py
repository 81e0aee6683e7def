"""Tables: compact ones by scheme, quantizer and length with a search's controls under their cell, and one of all rows."""

from .axes import LENGTH, Layout
from .content import Cell, Note, Section, Table
from .figures import Figure
from .points import SCHEME, quantizer_of, scheme_of
from .rows import differences, metrics_of, said

SIZES = {"bits_per_weight": "bits per weight", "bits_per_cached_value": "bits per number in the cache"}
AXIS_TITLES = {LENGTH: "length"}


def sizes(rows):
    """Returns the sizes in which rows differ."""
    return [name for name in SIZES if len({row[name] for row in rows if row.get(name) is not None}) > 1]


def compact(found, name, title, entries, every=()):
    """Returns the table `name` of [(row, effect, text)]: a block a scheme, rows by quantizer and the rest, columns by length; every: also those of controls."""
    places, layout = found.places, found.places.layout
    across = layout.across
    columns = across.labels if across else [title]
    axes = [axis for axis in places.rest_axes if axis is not across]
    texts = {cell: text for row, _, text in every if text for cell in [row["id"], *(draw["id"] for draw in row.get("draws", []))]}
    with_sizes = sizes(found.shown)
    blocks = {}
    for row, effect, text in entries:
        lines = blocks.setdefault(scheme_of(row), {})
        head = (quantizer_of(row), places.rest(row, axes), *("" if row.get(size) is None else f"{row[size]:.4g}" for size in with_sizes))
        folded = [(control, texts[cell]) for control, cell in sorted(row.get("controls", {}).items()) if cell in texts]
        value = effect.get("difference", effect.get("value"))
        lines.setdefault(head, {})[across.of(row) if across else title] = Cell(text, "" if value is None else value, folded)
    with_rest = any(head[1] for lines in blocks.values() for head in lines)
    order = lambda head: places.quantizers.index(head[0]) if head[0] in places.quantizers else len(places.quantizers)  # noqa: E731
    body = [
        (
            f"rope {scheme}" if len(blocks) > 1 or SCHEME in entries[0][0]["labels"] else "",
            [
                [head[0], *([head[1]] if with_rest else []), *head[2:], *(cells.get(column, "") for column in columns)]
                for head, cells in sorted(lines.items(), key=lambda one: order(one[0]))
            ],
        )
        for scheme, lines in sorted(blocks.items(), key=lambda one: places.schemes.index(one[0]) if one[0] in places.schemes else len(places.schemes))
    ]
    header = ["quantizer", *(["with"] if with_rest else []), *(SIZES[size] for size in with_sizes), *columns]
    return Table(header, body, name=name)


def all_rows(found):
    """Every row with its full configuration, every metric with its interval, the first difference, what it cost, and its cell."""
    rows = found.finished
    axes = {axis.name: axis for axis in Layout(rows).axes}
    label = lambda row, name: axes[name].of(row) if name in axes else row["labels"].get(name, "")  # noqa: E731
    names = list(dict.fromkeys([axis.name for axis in found.places.layout.axes if axis.varies] + [name for row in rows for name in row["labels"]]))
    names = [name for name in names if len({label(row, name) for row in rows}) > 1]
    metrics = metrics_of(rows)
    first = next(iter(found.paired), None)
    compared = {row["id"]: row for row in found.paired.get(first, [])}
    with_nll = any(differences(row).get("nll") for row in compared.values())
    costs = [
        ("seconds", "seconds", 1, ".2f"),
        ("tokens/s", "tokens_per_second", 1, ".0f"),
        ("TFLOP/s", "model_tflops_per_second", 1, ".3f"),
        ("peak MB", "peak_bytes", 1e-6, ".0f"),
    ]
    number = lambda value, text: Cell(text, "" if value is None else value)  # noqa: E731
    body = []
    for row in rows:
        line = [Cell(row["id"], code=True)]
        line += [number(row["axes"].get(name) if isinstance(row["axes"].get(name), (int, float)) else None, label(row, name)) for name in names]
        line += [number((row["metrics"].get(name) or {}).get("value"), row["texts"].get(name, "")) for name in metrics]
        if with_nll:
            entry = differences(compared.get(row["id"], {})).get("nll", {})
            line.append(number(entry.get("difference"), said(entry)))
        line.append(number(count := max((entry.get("count") or 0 for entry in row["metrics"].values() if entry), default=0), str(count)))
        line += [number(row.get(key), "" if row.get(key) is None else format(row[key] * unit, digits)) for _, key, unit, digits in costs]
        body.append(line)
    columns = [
        "cell",
        *(AXIS_TITLES.get(name, name) for name in names),
        *metrics,
        *([f"Δ NLL against {first}=none"] if with_nll else []),
        "count",
        *(title for title, *_ in costs),
    ]
    return Table(
        columns,
        [("", body)],
        title="All rows",
        name="all_rows",
        most=40,
    )


def tables(found):
    parts = [all_rows(found)]
    if found.hidden & {row["id"] for row in found.finished}:
        parts.append(Note("Rows that are only controls of a search are in the table of all rows."))
    return Section("tables", "Tables", parts)


def names(found, sections):
    """Returns the table of what short names that figures show stand for."""
    seen = {name for section in sections for part in section.parts if isinstance(part, Figure) for name in part.names()}
    pairs = [list(pair) for pair in found.places.full_names() if pair[0] in seen]
    return Section("names", "Names in figures", [Table(["name in figures", "stands for"], [("", pairs)], name="names")] if pairs else [])
