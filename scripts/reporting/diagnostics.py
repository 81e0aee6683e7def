"""The sections on diagnostics: figures of cells/ID/diagnostics/TYPE.csv, a line for each cell in its scheme's colour and its quantizer's marker.

What a diagnostic does not depend on gives cells equal tables: these are drawn once.  KINDS says what each figure shows; a diagnostic that is not
there is left out."""

import math

from .axes import joined
from .charts import chart, heat_map, panel_of
from .content import Note, Section
from .labels import joined_within, shortened, slug, unlike
from .rows import read_csv
from .tasks import BESIDE, titled

MOST_CELLS = 24
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BAND, LAYER, PAIR = "RoPE band (0 = highest)", "layer", "RoPE pair (0 = highest)"
FEWEST_BEHIND_A_RATE = 100


def interval(line, column):
    """Returns (value, low, high) of a line; low and high are the value where there is no interval."""
    value = float(line[column])
    return (value, *(float(line[f"{column}_{end}"] or value) for end in ("low", "high")))


def middle(line):
    return (int(line["begin"]) + int(line["end"]) - 1) / 2


def mean(values):
    return sum(values) / len(values)


def select(place, value, **fixed):
    """Returns a function from a table to {x: value or (value, low, high)} of the lines whose columns are as `fixed` says."""

    def points(lines):
        return {place(line): value(line) for line in lines if all(line[name] == wanted for name, wanted in fixed.items())}

    return points


def combined(place, combine, **fixed):
    """Returns a function from a table to {x: combine(lines)} over the layers of what `fixed` says."""

    def points(lines):
        found = {}
        for line in lines:
            if all(line[name] == wanted for name, wanted in fixed.items()):
                found.setdefault(place(line), []).append(line)
        return {x: combine(own) for x, own in found.items()}

    return points


def column(name):
    return lambda line: float(line[name])


def with_interval(name):
    return lambda line: interval(line, name)


def whole(name):
    return lambda line: int(line[name])


# A panel: (title, unit, title along x, function from a table to its points, null or None).


def pressure():
    of = lambda name: lambda lines: {int(line["pair"]): float(line[name]) for line in lines if line["pair"]}  # noqa: E731
    return [("|dφ / d ln s|", "radians", PAIR, of("pressure_rad"), None), ("|ω - ω'| D", "radians", PAIR, of("displacement_rad"), None)]


def phase():
    return [("", "wavelength (tokens)", PAIR, select(whole("pair"), column("wavelength_tokens")), None)]


def of_sites(unit, combine):
    return [
        (f"{site[0]}, {when} RoPE", unit, BAND, combined(whole("band"), combine, site=site, rope=when), None)
        for site in ("q_proj", "k_proj")
        for when in ("before", "after")
    ]


def quant_error():
    of_layer = lambda name: (
        lambda lines: {
            int(line["layer"]): float(line["output_snr_db"])
            for line in lines  # noqa: E731
            if line["site"].rpartition(".")[2] == name and line["layer"] and not line["band"]
        }
    )

    def of_band(name):
        def points(lines):
            found = {}
            for line in lines:
                if line["site"].rpartition(".")[2] == name and line["band"] and math.isfinite(float(line["output_snr_db"])):
                    found.setdefault(int(line["band"]), []).append(float(line["output_snr_db"]))
            return {band: mean(values) for band, values in found.items()}

        return points

    return [(name, "", LAYER, of_layer(name), None) for name in PROJECTIONS] + [(f"{name}, by band", "", BAND, of_band(name), None) for name in PROJECTIONS[:2]]


def logit_noise():
    def relative(line):
        magnitude = float(line["magnitude"])
        return tuple(value / magnitude if magnitude else 0.0 for value in interval(line, "noise"))

    places = {
        "distance": ("distance (tokens)", lambda line: max(0.5, float(line["begin"]))),
        "position": ("position of the query", middle),
        "band": (PAIR, middle),
    }
    panel = lambda unit, by, value: (f"by {by}", unit, places[by][0], select(places[by][1], value, by=by, layer=""), None)  # noqa: E731
    noise = lambda line: interval(line, "noise") if line["noise"] else (0.0,) * 3  # noqa: E731
    rows = [
        panel(unit, by, value)
        for unit, value in (("mean |Δ logit|", noise), ("relative to |logit|", lambda line: relative(line) if line["noise"] else (0.0,) * 3))
        for by in places
    ]
    return [
        *rows,
        panel("attention moved", "distance", with_interval("moved")),
        panel("attention moved", "position", with_interval("moved")),
        panel("KL(full || model), nats", "position", with_interval("kl")),
    ]


def dynamic_range():
    shown = (("max_ratio", "largest: long / short", 1), ("step_ratio", "step: long / short", 1), ("clip_share", "beyond short range", None))
    return [
        (f"{name}, after RoPE", unit, LAYER, select(whole("layer"), with_interval(what), site=site), null)
        for what, unit, null in shown
        for site, name in (("query", "queries"), ("key", "keys"))
    ]


def anisotropy():
    angle = lambda line: (float(line["angle_begin"]) + float(line["angle_end"])) / 2  # noqa: E731
    square = lambda lines: math.sqrt(mean([float(line["rms"]) ** 2 for line in lines]))  # noqa: E731
    largest = lambda lines: max(float(line["largest"]) for line in lines)  # noqa: E731
    of = lambda grid, combine: lambda lines: combined(angle, combine, grid=grid)([line for line in lines if line["angle_begin"]])  # noqa: E731
    return [
        (f"grid per {grid}", unit, "angle modulo 90°", of(grid, combine), null)
        for unit, combine, null in (("rms / (step / √12)", square, 1), ("largest / (step / 2)", largest, None))
        for grid in ("channel", "pair")
    ]


def aliasing():
    place = "position in the window"
    return [("no pair stops", "NLL (nats)", place, select(middle, column("nll"), moving="all"), None)] + [
        (title, "change of NLL (nats)", place, select(middle, with_interval("difference"), moving=moving), 0)
        for title, moving in (("all pairs stop", "none"), ("only wrapped move on", "wrapped"), ("only unwrapped move on", "unwrapped"))
    ]


def sensitivity():
    of = lambda parameter, value: (
        lambda lines: {
            int(line["band"]): value(line)
            for line in lines  # noqa: E731
            if (line["parameter"], line["layer"], line["pair"]) == (parameter, "", "") and line["band"]
        }
    )
    return [("pressure", "radians per unit of ln s", BAND, of("ln_s", column("pressure_rad")), None)] + [
        (f"|d NLL / d {name}|", "nats per unit", BAND, of(parameter, with_interval("absolute")), None)
        for name, parameter in (("ln s", "ln_s"), ("ln g", "ln_g"), ("ln ω", "ln_omega"))
    ]


# kind: (heading, panels, unit of all panels, panels beside each other, what is to be known)
KINDS = {
    "quant_error": (
        "Quantization error of single layers",
        quant_error,
        "output SNR (dB)",
        3,
        "Output SNR of each linear layer alone: 10 log10 of the squares of its outputs over those of their errors, both for the inputs that "
        "it gets in full precision. "
        "A layer whose output is not off has no point; bands: mean over layers.",
    ),
    "tail_inflation": (
        "Tail inflation",
        None,
        "",
        0,
        "The same tokens in the cell's windows over short contexts: by how much the 0.999-quantile of queries and keys before RoPE (TIR_W), "
        "and the share of their values "
        "after RoPE beyond the quantile in short contexts (TIR_A), grow. White is the null, 1, which layer 0 before RoPE has by "
        "construction; the scale is that of all "
        "cells. Grey: fewer than 100 values behind the ratio. A dot: the 95 % interval over documents leaves out 1, as one in twenty does by chance.",
    ),
    "interpolation_pressure": (
        "Interpolation pressure",
        pressure,
        "",
        2,
        "How far each pair's phase moves, at the distance D, per unit of ln s, and how far from plain RoPE. What is 0 has no point.",
    ),
    "phase": (
        "Wavelengths",
        phase,
        "",
        1,
        "A pair whose wavelength lies above a length does not complete a period over it; lines: the trained length and the window.",
    ),
    "tail_ratios": (
        "Tail ratios",
        lambda: of_sites("", lambda lines: mean([float(line["ratio_999"]) for line in lines])),
        "Q_0.999 / Q_0.5 of |x|",
        2,
        "Of queries and keys; mean over layers.",
    ),
    "outlier_counts": (
        "Outliers",
        lambda: of_sites("", lambda lines: 1e6 * sum(int(line["outliers"]) for line in lines) / sum(int(line["count"]) for line in lines)),
        "outliers per million",
        2,
        "Values of queries and keys beyond 6 standard deviations of their channel, over all layers. What is 0 has no point.",
    ),
    "logit_noise": (
        "Noise of the attention logits",
        logit_noise,
        "",
        3,
        "Between the evaluated model and full precision, each on its own hidden states, over all layers and heads; logits are centred over "
        "the keys of a query, since softmax does "
        "not see what all keys share. Distance 0 stands at ½. Bars: 95 % intervals over documents. A cell without a line has no noise.",
    ),
    "dynamic_range": (
        "Dynamic range of queries and keys",
        dynamic_range,
        "",
        2,
        "The same tokens in the cell's windows over short contexts: largest magnitude and step of a head's group, and the share of values "
        "outside of what their channel has in short "
        "contexts. The null is 1, and 0 for the share. Bars: 95 % intervals.",
    ),
    "anisotropy": (
        "Rounding error by angle of rotation",
        anisotropy,
        "",
        2,
        "Errors of 4-bit grids on queries and keys after RoPE, turned back to the axes before it; over all layers. "
        "Grey steps: the bound of theory, |cos| + |sin|.",
    ),
    "aliasing": (
        "Phases that stop at the trained length",
        aliasing,
        "",
        2,
        "Loss by position when, at keys farther than the trained length, some pairs keep the phase of that distance, less the loss "
        "when none does. Bars: 95 % intervals over documents. Below 0, the model does better without these pairs' far phases.",
    ),
    "sensitivity": (
        "Sensitivity of the loss",
        sensitivity,
        "",
        2,
        "Closed-form interpolation pressure (mean over a band's pairs) beside derivatives of the loss by autograd, over all layers at once: "
        "mean over documents of the absolute value, with 95 % intervals. What is 0 has no point.",
    ),
}
SIGNED = {"aliasing", "quant_error"}  # the others are magnitudes, in which 0 means that there is nothing


def points_of(look, values, positive):
    points = []
    for x, value in sorted(values.items()):
        value, low, high = value if isinstance(value, tuple) else (value,) * 3
        if math.isfinite(value) and (value > 0 or not positive):
            low, high = (end if math.isfinite(end) else value for end in (low, high))
            text = f"{value:.5g}" + (f" [{low:.4g}, {high:.4g}]" if low < high else "")
            points.append(look | {"x": x, "value": value, "low": low, "high": high, "text": text, "count": ""})
    return points


def lengths(lines):
    """Returns the trained length and the window, of the table `phase`."""
    return [round(float(lines[0][name]) * float(lines[0]["wavelength_tokens"])) for name in ("wraps_trained", "wraps_target")]


def bound(lines):
    theory = {
        (float(line["angle_begin"]) + float(line["angle_end"])) / 2: float(line["theory"]) for line in lines if line["grid"] == "pair" and line["angle_begin"]
    }
    return [{"at": at, "shown": theory[at]} for at in sorted(theory)]


def figure_of(found, kind, name, rows):
    """Returns a figure with a line for each of the rows whose table is another's no more."""
    heading, panels, unit, columns, note = KINDS[kind]
    drawn, seen, path_of = panels(), set(), lambda row: found.folder(row) / f"diagnostics/{kind}.csv"
    points = [[] for _ in drawn]
    for row in rows:
        values = read_csv(path_of(row), lambda lines: [points(lines) for *_, points, _ in drawn])
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
    )


def behind(line, name):
    """Returns how many values lie beyond the quantile or the clip of a ratio: in the smaller of the two sets."""
    return int(line["count"]) * (1 - float(line["p"])) if name == "tir_w" else min(int(line["short_above"]), int(line["long_above"]))


def ratios(name, site):
    def points(lines):
        found = []
        for line in lines:
            if line["site"] == site and float(line["p"]) == 0.999:
                value, low, high = interval(line, name)
                few = behind(line, name) < FEWEST_BEHIND_A_RATE
                logarithm = math.log2(value) if 0 < value < math.inf else 0.0
                found.append(
                    {
                        "column": int(line["band"]),
                        "row": int(line["layer"]),
                        "value": logarithm,
                        "label": "",
                        "dark": False,
                        "few": few,
                        "dot": not few and low < high and (low > 1 or high < 1),
                        "text": f"{value:.3f} [{low:.3f}, {high:.3f}]",
                        "count": line["count"],
                    }
                )
        return sorted(found, key=lambda point: (point["row"], point["column"]))

    return points


def inflation(found, rows):
    """Returns a figure for each cell, named by its configuration, with one scale for all of them."""
    heading, *_, note = KINDS["tail_inflation"]
    kinds = [
        (f"{name}, {site[0]}", ratios(column_name, site)) for name, column_name in (("TIR_W", "tir_w"), ("TIR_A", "tir_a")) for site in ("q_proj", "k_proj")
    ]
    titles, cells, seen = titled(found, rows), [], set()
    for row in rows:
        maps = read_csv(found.folder(row) / "diagnostics/tail_inflation.csv", lambda lines: [points(lines) for _, points in kinds])
        if str(maps) not in seen:
            seen.add(str(maps))
            cells.append((row, maps))
    span = max([0.1, *(abs(point["value"]) for _, maps in cells for own in maps for point in own if not point["few"])])
    scale = {"scheme": "redblue", "reverse": True, "domain": [-span, span]}
    names = unlike({row["id"]: slug(titles[row["id"]]) for row, _ in cells})
    made = []
    for row, maps in cells:
        told = {"what": found.places.said(row), "cell": row["id"]}
        panels = [(title, "", [point | told for point in own]) for (title, _), own in zip(kinds, maps)]
        legend = {"format": "", "labelExpr": "datum.value === 0 ? '1 (null)' : format(pow(2, datum.value), '.2f')", "values": [-span, 0, span]}
        made.append(
            heat_map(
                f"tail_inflation_{names[row['id']].replace(' #', '_')}",
                f"{heading}: {found.places.said(row)}",
                note if row is cells[0][0] else "",
                panels,
                "ratio",
                scale,
                legend,
                f"{titles[row['id']] or heading}",
                BAND,
            )
        )
    return made


def diagnostics(found):
    """A section of its own for each kind of diagnostic that any cell has."""
    sections = []
    axes = [axis for axis in found.places.layout.axes if axis.varies and axis.name not in BESIDE]
    for kind, (heading, panels, *_) in KINDS.items():
        rows = [row for row in found.finished if (found.folder(row) / f"diagnostics/{kind}.csv").is_file()]
        if not rows:
            continue
        parts = [Note(f"The first {MOST_CELLS} of {len(rows)} cells; the others' tables are in their folders.")] if len(rows) > MOST_CELLS else []
        rows = rows[:MOST_CELLS]
        if panels is None:
            parts += inflation(found, rows)
        else:
            groups = {}
            for row in rows:
                groups.setdefault(joined(axes, [axis.of(row) for axis in axes]), []).append(row)
            rests = shortened(groups)
            for rest, group in groups.items():
                figure = figure_of(found, kind, kind if len(groups) == 1 else f"{kind}_{slug(joined_within([rests[rest]]))}", group)
                if figure and len(groups) > 1:
                    figure.title += f": {rest}"
                parts.append(figure or Note(f"Nothing to draw: nothing is off in {len(group)} cells." if kind in SIGNED else "Nothing to draw: 0 everywhere."))
        sections.append(Section(kind, heading, parts))
    return sections
