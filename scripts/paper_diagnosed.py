"""The tables of targets that are about a diagnostic, of the numbers that its figure draws: as a table, as CSV and as data for pgfplots."""
import csv
import io
import re

from paper_tables import number
from reporting.content import Table
from reporting.diagnostic_kinds import KINDS
from reporting.diagnostics import rows_with, values_of
from reporting.points import Places
from reporting.rows import digits_of
from reporting.tasks import titled

MOST = 24  # rows on the page: six bands of queries and keys before and after RoPE; longer tables are files alone
ROUNDING = 1e-6  # of a value: what a table's last digits make of documents that are all alike


def kinds_of(found):
    """Returns the diagnostics that rows have and a figure draws as lines."""
    return [kind for kind, (_, panels, *_) in KINDS.items() if panels and rows_with(found, kind)]


def measured(found, kind):
    """Returns [(panel, title along x, x, row's name, value, low, high)]; low and high are None where there is no interval."""
    rows, panels, lines = rows_with(found, kind), KINDS[kind][1](), []
    names, values = titled(Places(rows), rows), {row["id"]: values_of(found, row, kind, panels) for row in rows}
    for place, (title, unit, x_title, *_) in enumerate(panels):
        panel = " ".join(filter(None, [title, unit and f"({unit})"]))
        for row in rows:
            for x, one in sorted(values[row["id"]][place].items()):
                value, low, high = one if isinstance(one, tuple) else (one,) * 3
                known = high - low > ROUNDING * abs(value)
                lines.append((panel, x_title, x, names[row["id"]] or "the experiment", value, *((low, high) if known else (None, None))))
    return lines


def table(kind, lines):
    """A block for each panel, a row for each place along x, and a column for each row of the experiment."""
    heading, _, unit, *_ = KINDS[kind]
    names, blocks = list(dict.fromkeys(line[3] for line in lines)), {}
    for panel, _, x, name, value, low, high in lines:
        digits = 3 if low is None else digits_of(low, high)
        blocks.setdefault(panel, {}).setdefault(x, {})[name] = number(value, low, high, digits if value else 0)
    body = [(panel, [[f"{x:g}", *(cells.get(name, "") for name in names)] for x, cells in places.items()]) for panel, places in blocks.items()]
    along = {re.split(r" \(| in | of ", line[1])[0] for line in lines}
    return Table([along.pop() if len(along) == 1 else "at", *names], body, title=f"{heading}{f', {unit}' if unit else ''}", name=kind, most=MOST)


def tables(found):
    return [table(kind, measured(found, kind)) for kind in kinds_of(found)]


def as_csv(lines):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["panel", "along", "at", "row", "value", "low", "high"])
    writer.writerows(lines)
    return text.getvalue()


def as_pgfplots(lines):
    """Columns as of `qroar show --format pgfplots`: x, and for each line its values and how far its intervals reach."""
    series, at = {}, {}
    for panel, along, x, name, value, low, high in lines:
        key = series.setdefault((panel, along, name), f"L{len(series) + 1}")
        at.setdefault(x, {})[key] = (value, *((0.0, 0.0) if low is None else (value - low, high - value)))
    head = ["# For each line: \\addplot+[error bars/.cd, y dir=both, y explicit] table[x=x, y=L1, y error minus=L1_minus, y error plus=L1_plus]{FILE};",
            "# lengths of error bars lead to the ends of the 95 % interval.", *(f"# {key}: {', '.join(said)}" for said, key in series.items())]
    names = " ".join(["x", *(f"{key}{end}" for key in series.values() for end in ("", "_minus", "_plus"))])
    nothing = (float("nan"),) * 3
    body = [" ".join(f"{one:.9g}" for one in (x, *(one for key in series.values() for one in values.get(key, nothing)))) for x, values in sorted(at.items())]
    return "\n".join([*head, names, *body, ""])


def data_files(found):
    """Returns {name: text} of the files beside the tables."""
    own = {kind: measured(found, kind) for kind in kinds_of(found)}
    return {f"{kind}.{ending}": form(lines) for kind, lines in own.items() for ending, form in (("csv", as_csv), ("dat", as_pgfplots))}
