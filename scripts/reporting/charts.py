"""The specifications of figures, made by altair: intervals, lines and markers over numbers or beside labels, and heat maps.

Colour is the scheme and the marker the quantizer.  Axes fit what is to be seen: what lies far outside stands at the edge with its number."""

import math
from functools import cache

import altair as alt
from altair.utils.schemapi import debug_mode

from .figures import MOST, Figure
from .labels import widest
from .looks import SHAPES
from .scales import LINEAR, LOG, REACH, clamped, dodged, edges_apart, fitting, shared, value_axis, x_axis

alt.data_transformers.consolidate_datasets = False  # data stay where they are shown
MOST_MARKED = 16  # markers of a line; other points of it are dots
BESIDE_THE_LINE = {"expr": "slice(datum.edge, 0, 1) === '↑' ? 7 : -7"}  # which joins points at the edge, too


@cache
def template(kind):
    """Returns the specification of a kind of chart, with a "$place" where figures differ.  "lines": values along y over numbers; "bands": these with
    intervals as a band; "beside": values along x beside labels; "heat": a map of rows and columns."""
    with debug_mode(False):  # which knows nothing of places
        layers = heat_layers() if kind == "heat" else chart_layers(kind)
        whole = alt.LayerChart(layer=layers, data=alt.InlineData(values="$points"), width="$width", height="$height", title="$title").to_dict(validate=False)
    return {key: whole[key] for key in ("data", "width", "height", "title", "layer")}  # the rest is a whole figure's


def tooltip():
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in (("what", "row"), ("text", "$value_title"), ("count", "count"), ("cell", "cell"))]


def when(test, field, kind, **more):
    return {"test": test, "field": field, "type": kind, **more}


def heat_layers():
    places = {"x": alt.X("column:O", sort=None, axis="$x_axis"), "y": alt.Y("row:O", sort=None, axis="$axis")}
    color = alt.ColorValue("#8a8a8a", condition=when("!datum.few", "value", "quantitative", scale="$heat_scale", legend="$heat_legend"))
    chart = alt.Chart()
    return [
        chart.mark_rect().encode(**places, color=color, tooltip=tooltip()),
        chart.transform_filter("datum.dot").mark_circle(color="#000000", size=8, opacity=1).encode(**places),
        chart.transform_filter("datum.label !== ''")
        .mark_text()
        .encode(**places, text="label:N", color=alt.condition("datum.dark", alt.value("#ffffff"), alt.value("#000000"))),
    ]


def chart_layers(kind):
    value = "x" if kind == "beside" else "y"
    channel = {"x": alt.X, "y": alt.Y}[value]
    of_value = lambda name: {value: channel(f"{name}:Q", scale="$scale", axis="$axis")}  # noqa: E731
    along = {"x": alt.X("at:Q", scale="$x_scale", axis="$x_axis")}
    if kind == "beside":
        across = {"y": alt.Y("line:N", sort="$lines", title=None, axis="$line_axis"), "yOffset": alt.YOffset("slot:N", sort="$slots")}
    else:
        across = along
    color, dash = alt.Color("scheme:N", legend="$scheme_legend", scale="$colors"), alt.StrokeDash("scheme:N", legend="$scheme_legend", scale="$dashes")
    look, detail = across | {"color": color, "opacity": alt.OpacityValue("$opacity")}, alt.Detail("series:N")
    chart, other = alt.Chart(), lambda place: alt.Chart(alt.InlineData(values=place))
    ends = of_value("from") | {f"{value}2": "to:Q"}
    layers = [other("$null").mark_rule(color="$ink", opacity=0.6).encode(**of_value("at"))]
    if kind != "beside":
        layers += [
            other("$marks").mark_rule(color="$ink", strokeDash=[3, 3], opacity=0.5).encode(**along),
            other("$steps").mark_line(color="$quiet", interpolate="$interpolation").encode(**along, **of_value("shown")),
        ]
    if kind == "bands":
        layers += [chart.mark_area(opacity=0.15).encode(**across, **ends, color=color, detail=detail)]
    else:
        layers += [chart.mark_rule().encode(**look, **ends, **({"strokeDash": dash} if kind == "beside" else {}))]
        for is_cut, end, shape in (("below", "from", "left" if value == "x" else "down"), ("above", "to", "right" if value == "x" else "up")):
            head = chart.transform_filter(f"datum.{is_cut}").mark_point(shape=f"triangle-{shape}", size="$arrow_size", filled=True)
            layers += [head.encode(**look, **of_value(end), tooltip=tooltip())]
    if kind != "beside":
        layers += [chart.transform_filter("datum.joined").mark_line().encode(**look, **of_value("shown"), strokeDash=dash, detail=detail)]
    layers += [
        chart.mark_point(size="$marker_size").encode(
            **look,
            **of_value("shown"),
            shape=alt.Shape("quantizer:N", legend="$quantizer_legend", scale="$shapes"),
            tooltip=tooltip(),
            fill=alt.FillValue("$paper", condition=when("datum.full", "scheme", "nominal", scale="$colors")),
        )
    ]
    layers += [
        chart.transform_filter("datum.edge !== ''")
        .mark_text(align={"expr": "datum.late ? 'right' : 'left'"}, dx={"expr": "datum.late ? -6 : 6"}, dy=BESIDE_THE_LINE if value == "y" else 0)
        .encode(**look, **of_value("shown"), text="edge:N")
    ]
    if kind != "beside":
        layers += [other("$labels").mark_text(align="left", color="$ink").encode(**along, **of_value("shown"), text="label:N")]
    return layers


def panel_of(title, points, x_title="", unit="", null=None, marks=(), levels=(), steps=(), labels=lambda *_: []):
    """One panel before its axes are known.  null: the value that means nothing, which gets a line and stays in view; marks, levels: other lines, across
    x and the values; labels: a function from the axis of values (its scale, where it begins and ends) to texts beside points."""
    return {
        "title": title,
        "points": points,
        "x_title": x_title,
        "unit": unit,
        "null_at": null,
        "marks_at": marks,
        "levels": list(levels),
        "steps": list(steps),
        "labels": labels,
    }


def scaled(panels, x_logarithmic, reach, zeros, apart):
    """Returns the fillings of panels that show the same thing: on one scale, where it fits all.  x_logarithmic: of a panel or of all."""
    null = panels[0]["null_at"]
    scale = fitting([point["value"] for panel in panels for point in panel["points"]], null, reach, zeros)
    done = []
    for panel, (low, high) in zip(panels, shared([panel["points"] for panel in panels], null, scale, reach)):
        points = edges_apart([clamped(point, low, high, "+" if null == 0 else "") for point in panel["points"]])
        own = {
            "title": panel["title"],
            "unit": panel["unit"],
            "null": [{"at": at} for at in ([] if null is None else [null]) + panel["levels"] if low <= at <= high],
            **value_axis(low, high, null, scale),
        }
        if "line" in points[0]:
            own |= beside_labels(points, high)
        else:
            x_scale = LOG if (x_logarithmic(panel) if callable(x_logarithmic) else x_logarithmic) else LINEAR
            beside = [other["points"] for other in panels if other["x_title"] == panel["x_title"]]
            own |= over_numbers(panel, points, numbers_across(points, beside, x_scale), x_scale, apart)
            own["steps"] = [step | {"shown": min(max(step["shown"], low), high)} for step in panel["steps"]]
            own["labels"] = panel["labels"](scale, low, high)
        done.append(own)
    return done


def beside_labels(points, high):
    """Returns what fills the places of a panel with a line for each label; where several points stand on a line, each series has its own height in it,
    and what stands alone is in the middle."""
    of_line = {}
    for point in points:
        of_line.setdefault(point["line"], set()).add(point["series"])
    slots = list(dict.fromkeys(point["series"] for point in points if len(of_line[point["line"]]) > 1)) or [""]
    slot_of = lambda point: point["series"] if len(of_line[point["line"]]) > 1 else slots[len(slots) // 2]  # noqa: E731
    points = [point | {"late": point["value"] > high, "marked": True, "slot": slot_of(point)} for point in points]
    return {"points": points, "lines": list(of_line), "slots": slots}


def numbers_across(points, panels, scale):
    """Returns the numbers that a panel's axis fits: those of all panels, but its own where they would be squeezed to less than a fifth."""
    own, all_of_them = (sorted({point["x"] for points in group for point in points}) for group in ([points], panels))
    size = lambda numbers: scale.into(numbers[-1]) - scale.into(numbers[0])  # noqa: E731
    return own if 0 < size(own) < size(all_of_them) / 5 else all_of_them


def over_numbers(panel, points, across, scale, apart):
    """Returns what fills the places of a panel over numbers; across: those that its axis fits."""
    own = x_axis(across, panel["x_title"], scale)
    first, last = own["x_scale"]["domain"]
    few = math.ceil(len(across) / MOST_MARKED)
    points = dodged(points, across, scale, (first, last)) if apart else [point | {"at": point["x"]} for point in points]
    middle = scale.back((scale.into(first) + scale.into(last)) / 2)
    own["points"] = [point | {"late": point["at"] > middle, "marked": across.index(point["x"]) % few == 0} for point in points]
    return own | {"marks": [{"at": at} for at in panel["marks_at"] if first < at < last]}


def chart(places, name, title, note, panels, unit="", value_title="value", x_logarithmic=False, bands=False, columns=0, reach=REACH, zeros=False, apart=True, interpolation="step"):
    """Returns a figure of panels (panel_of); None where there is nothing to draw or too much.  zeros: 0 is a magnitude like others; apart: points of
    several lines over one number stand beside each other."""
    panels = [panel for panel in panels if panel["points"]]
    if not panels or len(panels) > MOST:
        return None
    alike, drawn = {}, {}
    for place, panel in enumerate(panels):
        alike.setdefault(panel["unit"], []).append(place)
    for together in alike.values():
        drawn |= zip(together, scaled([panels[place] for place in together], x_logarithmic, reach, zeros, apart))
    legend = places.legend([point for panel in panels for point in panel["points"]])
    scale = lambda kind, of: {"domain": [entry["label"] for entry in legend[kind]], "range": [entry[of] for entry in legend[kind]]}  # noqa: E731
    common = {"value_title": value_title, "interpolation": interpolation, "colors": scale("scheme", "color"), "dashes": scale("scheme", "dash"), "shapes": scale("quantizer", "shape")}
    figure = Figure(name, title, note, "bands" if bands else "lines", [drawn[place] for place in sorted(drawn)], unit, legend, common, columns)
    if not bands and any("below" in point or "above" in point for panel in figure.panels for point in panel["points"]):
        figure.note = f"{note} Arrow heads: intervals that go on, to ends that the page shows at a point.".strip()
    if "lines" in drawn[0]:
        labels = [label for panel in figure.panels for label in panel["lines"]]
        figure.kind, figure.left = "beside", 12 + widest(labels, 8)
        each = 9 if any(point["edge"] for panel in figure.panels for point in panel["points"]) else 6  # a number stands beside a point at an edge
        figure.step = max(11, each * max(len(panel["slots"]) for panel in figure.panels))
    if (
        figure.step
        or max(len({point["quantizer"] for point in panel["points"]}) for panel in panels) == 1
        and len(panels) > 1
        or len(legend["quantizer"]) > len(SHAPES)
    ):
        legend["quantizer"] = []  # titles or labels say it
    return figure


def heat_map(name, title, note, panels, unit, scale, legend, rows, columns):
    """panels: [(title, unit, points with column, row, value, label, few, dot, dark)]; unit: what all of them show; rows, columns: titles of the axes;
    legend: with its "title", which is that of the values, too."""
    axis = {"title": None, "labelAngle": 0, "labelOverlap": True, "ticks": False, "domain": False}
    drawn = [{"title": head, "unit": unit, "points": points, "x_axis": axis | {"title": columns}, "axis": axis | {"title": rows}} for head, unit, points in panels]
    height = 9 * max(8, len({point["row"] for panel in panels for point in panel[2]}))
    return Figure(name, title, note, "heat", drawn, unit, {}, {"value_title": legend["title"], "heat_scale": scale, "heat_legend": legend}, height=height)
