"""Limits, ticks and axes of figures.  They fit what is to be seen: what lies far outside stands at the edge with its number."""

import math

LEAST = 1e-4  # the last digit of a difference in tables: no axis shows less, since rounding errors of sums would fill it
REACH = 8  # interquartile ranges; a value farther outside stands at the edge
MOST_DODGED = 12  # numbers along x at which intervals of several lines stand beside each other
TICKS = 8
NUMBER = "datum.value >= 1024 && datum.value % 1024 === 0 ? datum.value / 1024 + 'K' : format(datum.value, datum.value < 100 ? '.3~g' : '~g')"


def inner(values, reach):
    """Returns between which values lies all that is not far outside."""
    values = sorted(values)
    quarter, three = values[len(values) // 4], values[(3 * len(values)) // 4]
    far = reach * (three - quarter) if three > quarter else math.inf
    return quarter - far, three + far


def limits(points, null, logarithmic, reach=REACH):
    """Returns the ends of an axis that fits the values and, within reason, their intervals."""
    into, back = (math.log, math.exp) if logarithmic else (float, float)
    values = sorted(into(point["value"]) for point in points)
    first, last = inner(values, reach)
    inside = [value for value in values if first <= value <= last] + ([into(null)] if null is not None else [])
    low, high = min(inside), max(inside)
    span = high - low or abs(high) or 1.0
    ends = [into(point[end]) for point in points for end in ("low", "high") if not logarithmic or point[end] > 0]
    low, high = min(low, max(min(ends), low - 1.5 * span)), max(high, min(max(ends), high + 1.5 * span))
    pad = 0.06 * (high - low) or 0.5 * span
    if null == 0 and max(high, -low) < LEAST:
        pad = LEAST
    return back(low - pad), back(high + pad)


def shared(panels, null, logarithmic, reach=REACH):
    """Returns the limits of each panel: the same for all where none would be squeezed to less than a fifth by it, else its own.  Panels in which nothing
    differs go with the others."""
    own = [limits(points, null, logarithmic, reach) for points in panels]
    size = lambda ends: math.log(ends[1] / ends[0]) if logarithmic else ends[1] - ends[0]  # noqa: E731
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
    inside = lambda value: min(max(value, low), high)  # noqa: E731
    edge = "" if low <= point["value"] <= high else f"{'↑' if point['value'] > high else '↓'} {point['value']:{sign}.4g}"
    return point | {"shown": inside(point["value"]), "from": inside(point["low"]), "to": inside(point["high"]), "edge": edge}


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


def dodged(points, logarithmic):
    """Moves points of several lines apart; all lines together take a fifth of the smallest gap along x."""
    into, back = (math.log, math.exp) if logarithmic else (float, float)
    places = sorted({into(point["x"]) for point in points})
    lines = list(dict.fromkeys(point["series"] for point in points))
    gap = min((right - left for left, right in zip(places, places[1:])), default=0) if len(places) <= MOST_DODGED else 0
    return [
        point | {"at": back(into(point["x"]) + gap / 5 * ((lines.index(point["series"]) + 0.5) / len(lines) - 0.5)) if gap else point["x"]} for point in points
    ]


def ends_with(points, ends, logarithmic):
    """Returns the ends of an axis with room for the points that were moved apart."""
    into, back = (math.log, math.exp) if logarithmic else (float, float)
    places, (first, last) = [into(point["at"]) for point in points], map(into, ends)
    room = 0.04 * (last - first)
    return [back(min(first, min(places) - room)), back(max(last, max(places) + room))]


def x_axis(numbers, title, logarithmic):
    """Returns what fills the places of the axis along x."""
    if logarithmic:
        ends = (numbers[0] / 1.15, numbers[-1] * 1.15)
        values = numbers if len(numbers) <= TICKS else [number for number in numbers if number >= 1 and math.log2(number) % 2 == 0] or ticks(*ends)
    else:
        room = 0.06 * (numbers[-1] - numbers[0]) or 1
        ends, values = (numbers[0] - room, numbers[-1] + room), numbers if len(numbers) <= TICKS else None
    axis = {"grid": False, "labelExpr": NUMBER, "labelOverlap": True, "title": title, **({"values": values} if values else {"tickCount": 5})}
    return {
        "x_scale": {"type": "log" if logarithmic else "linear", "domain": list(ends), "nice": False, **({} if logarithmic else {"zero": False})},
        "x_axis": axis,
    }


def value_axis(low, high, null, logarithmic):
    signed = f"datum.value === 0 ? '0' : format(datum.value, '{'+' if null == 0 else ''}~g')"
    axis = {
        "labelExpr": signed,
        "grid": True,
        "labelOverlap": True,
        "labelSeparation": 3,
        "title": None,
        **({"values": ticks(low, high)} if logarithmic else {"tickCount": 4}),
    }
    return {
        "scale": {"type": "log" if logarithmic else "linear", "domain": [low, high], "nice": False, **({} if logarithmic else {"zero": False})},
        "axis": axis,
    }
