"""Limits, ticks and axes of figures.  They fit what is to be seen: what lies far outside stands at the edge with its number."""

import math
from dataclasses import dataclass

LEAST = 1e-4  # the last digit of a difference in tables: no axis shows less, since rounding errors of sums would fill it
REACH = 8  # interquartile ranges, half as many of logarithms; a value farther outside stands at the edge
WIDE = 4  # times the median interval; what reaches farther is cut there
NEARLY = 1.5  # times the axis; where it would be no longer, nothing is cut
MOST_DODGED = 12  # numbers along x at which intervals of several lines stand beside each other
TICKS = 8
NUMBER = "datum.value >= 1024 && datum.value % 1024 === 0 ? datum.value / 1024 + 'K' : format(datum.value, datum.value < 100 ? '.3~g' : '~g')"


@dataclass(frozen=True)
class Scale:
    """How an axis places values: "linear", "log", or "symlog", which has a place for 0 below `constant`, the smallest value above it."""

    kind: str = "linear"
    constant: float = 1.0

    def into(self, value):
        if self.kind == "log":
            return math.log(value)
        return math.copysign(math.log1p(abs(value) / self.constant), value) if self.kind == "symlog" else float(value)

    def back(self, place):
        if self.kind == "log":
            return math.exp(place)
        return math.copysign(self.constant * math.expm1(abs(place)), place) if self.kind == "symlog" else place

    def has(self, value):
        return self.kind != "log" or value > 0

    def said(self, low, high):
        own = {"log": {}, "symlog": {"constant": self.constant}, "linear": {"zero": False}}[self.kind]
        return {"type": self.kind, "domain": [low, high], "nice": False, **own}


LINEAR, LOG = Scale("linear"), Scale("log")


def fitting(values, null, reach, zeros):
    """Returns the scale that fits values: logarithmic where they are magnitudes of several sizes; zeros: with a place for 0."""
    first, last = inner(values, reach)
    inside = [value for value in values if first <= value <= last and value > 0]
    if null == 0 or min(values) < 0 or not inside or max(inside) <= 4 * min(inside) or (min(values) == 0 and not zeros):
        return LINEAR
    return Scale("symlog", min(inside)) if min(values) == 0 else LOG


def inner(values, reach):
    """Returns between which values lies all that is not far outside."""
    values = sorted(values)
    quarter, three = values[len(values) // 4], values[(3 * len(values)) // 4]
    far = reach * (three - quarter) if three > quarter else math.inf
    return quarter - far, three + far


def limits(points, null, scale, reach=REACH):
    """Returns the ends of an axis that fits the values and their intervals, of one that is much wider than the others a part."""
    into = scale.into
    values = sorted(into(point["value"]) for point in points)
    first, last = inner(values, reach / 2 if scale.kind == "log" else reach)
    inside = [value for value in values if first <= value <= last] + ([into(null)] if null is not None else [])
    low, high = min(inside), max(inside)
    bars = [(into(point["value"]), into(point[end])) for point in points for end in ("low", "high") if scale.has(point[end])]
    reaches = sorted(abs(end - value) for value, end in bars if end != value)
    most = WIDE * reaches[(len(reaches) - 1) // 2] if reaches else 0
    reach_of = lambda most: [value + min(max(end - value, -most), most) for value, end in bars if first <= value <= last] + [low, high]  # noqa: E731
    ends, whole = reach_of(most), reach_of(math.inf)
    ends = whole if max(whole) - min(whole) < NEARLY * (max(ends) - min(ends)) else ends
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.5 * (abs(high) or 1.0)
    if null == 0 and max(high, -low) < LEAST:
        pad = LEAST
    return scale.back(low - pad), scale.back(high + pad)


def shared(panels, null, scale, reach=REACH):
    """Returns the limits of each panel: the same for all where none would be squeezed to less than a fifth by it, else its own.  Panels in which nothing
    differs go with the others."""
    own = [limits(points, null, scale, reach) for points in panels]
    size = lambda ends: scale.into(ends[1]) - scale.into(ends[0])  # noqa: E731
    seen = [{point[name] for point in points for name in ("value", "low", "high")} for points in panels]
    flat = [len(values) == 1 or (null == 0 and max(map(abs, values)) < LEAST) for values in seen]
    telling = [ends for ends, is_flat in zip(own, flat) if not is_flat] or own
    union = (min(low for low, _ in telling), max(high for _, high in telling))
    if size(union) <= 5 * min(map(size, telling)):
        return [
            union if all(union[0] <= point["value"] <= union[1] for point in points) or not is_flat else ends
            for points, ends, is_flat in zip(panels, own, flat)
        ]
    return own


def clamped(point, low, high, sign):
    """Returns a point with what is to be seen of it, the number of a value outside, and which ends of its interval are cut: these get an arrow head."""
    inside = lambda value: min(max(value, low), high)  # noqa: E731
    edge = "" if low <= point["value"] <= high else f"{'↑' if point['value'] > high else '↓'} {point['value']:{sign}.4g}"
    cut = {name: True for name, is_cut in (("below", point["low"] < low <= point["value"]), ("above", point["high"] > high >= point["value"])) if is_cut}
    return point | {"shown": inside(point["value"]), "from": inside(point["low"]), "to": inside(point["high"]), "edge": edge, **cut}


def edges_apart(points):
    """Says the numbers of points that stand at one place of an edge once, as a range: their labels would cover each other."""
    together = {}
    for point in points:
        if point["edge"]:
            together.setdefault((point["edge"][0], point.get("x", (point.get("line"), point["series"]))), []).append(point)
    for same in together.values():
        if len(same) > 1:
            ordered = sorted(same, key=lambda point: point["value"])
            for point in same:
                point["edge"] = ""
            same[0]["edge"] = f"{'↑' if same[0]['value'] > same[0]['shown'] else '↓'} {ordered[0]['value']:.3g} to {ordered[-1]['value']:.3g}"
    return points


def ticks(low, high):
    """Returns round numbers for a logarithmic axis."""
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [step * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for step in steps]
        if len(inside := [value for value in found if low <= value <= high]) >= 3:
            return inside[:: max(1, math.ceil(len(inside) / 6))]
    power = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = max(step * power for step in (1, 2, 5) if step * power <= (high - low) / 3)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def dodged(points, across, scale, ends):
    """Moves points of several lines apart: by a little of the axis, and less than a fifth of the smallest gap between the numbers along it."""
    places = list(map(scale.into, across))
    lines = list(dict.fromkeys(point["series"] for point in points))
    span = scale.into(ends[1]) - scale.into(ends[0])
    if len(places) > MOST_DODGED:
        room = 0
    elif len(places) == 1:
        room = min(0.4, 0.05 * len(lines)) * span
    else:
        room = min(min(right - left for left, right in zip(places, places[1:])) / 5, min(0.05, 0.012 * len(lines)) * span)
    shift = {line: room * ((place + 0.5) / len(lines) - 0.5) for place, line in enumerate(lines)}
    return [point | {"at": scale.back(scale.into(point["x"]) + shift[point["series"]]) if room else point["x"]} for point in points]


def x_axis(numbers, title, scale):
    """Returns what fills the places of the axis along x."""
    first, last = scale.into(numbers[0]), scale.into(numbers[-1])
    room = max(0.06 * (last - first), math.log(1.15)) if scale is LOG else 0.06 * (last - first) or 1
    ends = scale.back(first - room), scale.back(last + room)
    values = numbers
    if len(numbers) > TICKS:
        values = [number for number in numbers if number >= 1 and math.log2(number) % 2 == 0] or ticks(*ends) if scale is LOG else None
    axis = {"grid": False, "labelExpr": NUMBER, "labelOverlap": True, "title": title, **({"values": values} if values else {"tickCount": 5})}
    return {"x_scale": scale.said(*ends), "x_axis": axis}


def value_axis(low, high, null, scale):
    signed = f"datum.value === 0 ? '0' : format(datum.value, '{'+' if null == 0 else ''}~g')"
    marked = {"log": lambda: {"values": ticks(low, high)}, "symlog": lambda: {"values": [0, *ticks(scale.constant, high)]}}
    axis = {
        "labelExpr": signed,
        "grid": True,
        "labelOverlap": True,
        "labelSeparation": 3,
        "title": None,
        **marked.get(scale.kind, lambda: {"tickCount": 4})(),
    }
    return {"scale": scale.said(low, high), "axis": axis}
