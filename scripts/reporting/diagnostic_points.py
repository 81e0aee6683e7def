"""Functions that take points {x: value or (value, low, high)} from the lines of a table of cells/ID/diagnostics/TYPE.csv."""


def interval(line, column):
    """Returns (value, low, high) of a line; low and high are the value where there is no interval, as in tables of before there were any."""
    value = float(line[column])
    return (value, *(float(line.get(f"{column}_{end}") or value) for end in ("low", "high")))


def middle(line):
    return (int(line["begin"]) + int(line["end"]) - 1) / 2


def mean(values):
    return sum(values) / len(values)


def averaged(name, weight=lambda line: 1):
    """Returns a function from lines to the mean of a column, and of the ends of its intervals: an interval of the mean that is too wide and never too
    narrow, whatever the lines have in common."""

    def average(lines):
        total, ends = sum(map(weight, lines)), [interval(line, name) for line in lines]
        return tuple(sum(end * weight(line) for end, line in zip(side, lines)) / total for side in zip(*ends))

    return average


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
