"""What the papers show and `qroar show` has no table or figure of: tables 2 and 3 (paper_tables.py), the panels of figures 3 and 4, tables of diagnostics
(paper_diagnosed.py).  Numbers and intervals are `show`'s; running means are over cells/ID/windows.csv."""
import dataclasses
import json
import math

import paper_diagnosed
from paper_latex import latex
from paper_tables import LENGTH, accuracy, beside_published, lengths_of
from reporting import markdown
from reporting.build import write
from reporting.charts import chart, panel_of, template
from reporting.diagnostic_points import mean
from reporting.figures import Figure, files
from reporting.points import scheme_of
from reporting.rows import cells_of, differences, planned_cells, read_csv, said, show
from reporting.tables import compact

FACTOR = "rope.factor"


def by_scheme(found, rows, value_of):
    """Returns points (x, entry) of rows by a function row -> (x, entry) as places.point wants them, with x of our own."""
    points = []
    for row in rows:
        x, entry, text = value_of(row)
        value = entry.get("value", entry.get("difference"))
        if value is None:
            continue
        low, high = (value if entry.get(end) is None else entry[end] for end in ("low", "high"))
        points.append(found.places.look(row) | {"x": x, "value": value, "low": low, "high": high, "full": bool(entry.get("survives")), "text": text,
                                               "count": entry.get("clusters", "")})
    return sorted(points, key=lambda point: (point["series"], point["x"]))


def at_first_factor(found, rows):
    """Returns the rows that have the scale factor which the plan begins with: those of all lengths."""
    first = found.by_cell[planned_cells(found.results)[0]]["axes"].get(FACTOR)
    return [row for row in rows if row["axes"].get(FACTOR) == first]


def direct(found, rows):
    own = by_scheme(found, rows, lambda row: (row["axes"][LENGTH], row["metrics"]["perplexity"], row["texts"]["perplexity"]))
    return panel_of("by length", own, "window length (tokens)", "perplexity")


def improvement(found):
    """YaRN's perplexity relative to NTK's, over the same documents."""
    rows = [row for row in at_first_factor(found, json.loads(show(found.results, "--format", "json", "--baseline", "rope.type=ntk")))
            if scheme_of(row) == "YaRN" and "perplexity_ratio" in row.get("paired", {})]

    def value_of(row):
        ratio = row["paired"]["perplexity_ratio"]
        entry = {name: None if ratio.get(name) is None else 100 * (ratio[name] - 1) for name in ("value", "low", "high")}
        text = f"{entry['value']:+.2f} %" + ("" if entry["low"] is None else f" [{entry['low']:+.2f}, {entry['high']:+.2f}]")
        return row["axes"][LENGTH], entry | {"survives": row["paired"].get("nll", {}).get("survives")}, text

    return panel_of("YaRN relative to NTK", by_scheme(found, rows, value_of), "window length (tokens)", "Δ perplexity (%)", null=0)


def by_factor(found, rows):
    """Perplexity at the longest windows against the scale factor."""
    longest = max(row["axes"][LENGTH] for row in rows)
    own = [row for row in rows if row["axes"][LENGTH] == longest]
    points = by_scheme(found, own, lambda row: (row["axes"][FACTOR], row["metrics"]["perplexity"], row["texts"]["perplexity"]))
    return panel_of(f"by factor, {longest} tokens", points, "scale factor", "perplexity")


def losses(found, row):
    """Returns [(document, mean loss)] in the order of evaluation; of several rounding draws, the mean over them."""
    own = lambda lines: [(line["document"], float(line["nll_sum"]) / int(line["tokens"])) for line in lines]  # noqa: E731
    draws = [read_csv(found.results / "cells" / cell / "windows.csv", own) for cell in cells_of(row)]
    return [(together[0][0], mean([loss for _, loss in together])) for together in zip(*draws)]


def running(values):
    """Returns [(count, mean, standard error)] of the first 1, 2, 3 ... values."""
    found = []
    for count in range(1, len(values) + 1):
        own = values[:count]
        middle = sum(own) / count
        found.append((count, middle, math.sqrt(sum((value - middle) ** 2 for value in own) / (count - 1) / count) if count > 1 else 0.0))
    return found


def settling(found, rows, of_difference=False):
    """Means over the first documents, of each scheme or of YaRN less NTK; bars are standard errors."""
    longest = max(row["axes"][LENGTH] for row in rows)
    own = {scheme_of(row): row for row in rows if row["axes"][LENGTH] == longest}
    values = {name: losses(found, row) for name, row in own.items()}
    if of_difference:
        ntk = dict(values["NTK"])
        values = {"YaRN": [(document, value - ntk[document]) for document, value in values["YaRN"]]}
    points = [found.places.look(own[name]) | {"x": count, "value": value, "low": value - error, "high": value + error, "count": count,
                                              "text": f"{value:.4f} ± {error:.4f}"}
              for name, line in values.items() for count, value, error in running([value for _, value in line])]
    title = f"{'YaRN - NTK' if of_difference else 'running mean'} at {longest}"
    return panel_of(title, points, "documents", "Δ NLL (nats)" if of_difference else "NLL (nats)", null=0 if of_difference else None)


def sensitivity(found):
    """How much more YaRN is ahead of NTK than at the shortest windows; no points where all windows have one length."""
    shortest, *longer = lengths_of(found.finished)
    if not longer:
        return panel_of("", [])
    entries = json.loads(show(found.results, "--format", "json", "--interaction", f"{LENGTH}={shortest},rope.type=ntk"))
    rows = {entry["id"]: entry for entry in entries if entry["metric"] == "nll" and "positions" not in entry}
    own = [row for row in found.finished if row["id"] in rows]
    points = by_scheme(found, own, lambda row: (row["axes"][LENGTH], rows[row["id"]], said(rows[row["id"]])))
    return panel_of(f"YaRN - NTK since {shortest}", points, "window length (tokens)", "Δ NLL (nats)", null=0)


def drawn(found, title, note, panels):
    return [chart(found.places, "as_in_the_paper", title, f"{note} Bars: 95 % intervals over documents, and over rounding draws where there are several; "
                  "in running means one standard error.", panels, "", "value", columns=2, x_logarithmic=lambda panel: panel["x_title"] != "documents")]


def figure_3(found):
    by_length = at_first_factor(found, found.finished)
    note = "YaRN against NTK in full precision: directly, relatively over the same documents, by factor, and as means over the first documents."
    return drawn(found, "YaRN against NTK", note, [direct(found, by_length), improvement(found), by_factor(found, found.finished),
                                                      settling(found, by_length)])


def figure_4(found):
    plain = [row for row in found.finished if row["labels"]["quant"] == "none"]
    note = ("YaRN against NTK, with full precision and AWQ: directly, relatively, how its lead changes with the length, and how the mean difference settles "
            "in full precision.")
    return drawn(found, "YaRN against NTK, with intervals", note, [direct(found, found.finished), improvement(found), sensitivity(found),
                                                                  settling(found, plain, of_difference=True)])


def of_one_length(found):
    """The tables by scheme and quantizer where there is one length: those of `show` have every column there, ids and seconds among them."""
    lengths = {row["config"]["windows"]["length"] for row in found.finished}
    if len(lengths) != 1:
        return []
    where = f"in windows of {lengths.pop()} tokens"
    texts = [(row, row["metrics"]["perplexity"], row["texts"]["perplexity"]) for row in found.finished if row["metrics"].get("perplexity")]
    paired = [(row, one["nll"], said(one["nll"])) for row in found.paired.get("quant", []) if "nll" in (one := differences(row))]
    kinds = [("table", "perplexity", f"Perplexity {where}", texts), ("paired_quant", "Δ NLL", f"What quantization changes {where}, nats per token", paired)]
    return [dataclasses.replace(compact(found, name, column, own), title=title) for name, column, title, own in kinds if own]


DIAGNOSED = ("f20", "f21", "causes")
SHOWN = {"t2": beside_published, "t3": accuracy, "f3": figure_3, "f4": figure_4, "f5": of_one_length, **dict.fromkeys(DIAGNOSED, paper_diagnosed.tables)}
NOT_OF_THE_LOSS = {"t3", *DIAGNOSED}  # targets whose subject is no difference of losses


def shown(target, found):
    """Returns the tables and figures of a target that only the papers have."""
    return [part for part in SHOWN.get(target, lambda _: [])(found) if part]


def without_metric(line):
    """Returns a line of `show`'s caption without what it says of its own columns."""
    return line.removeprefix("perplexity; ")


def write_shown(target, found):
    """Writes what only the papers have into a target's folder: NAME.md and NAME.tex of tables, the files of figures; of diagnostics
    also NAME.csv and NAME.dat."""
    folder = found.results
    for part in shown(target, found):
        if isinstance(part, Figure):
            for name, content in files(part, template(part.kind)).items():
                write(folder / name, content)
        else:
            write(folder / f"{part.name}.md", "\n".join(markdown.table(part)))
            write(folder / f"{part.name}.tex", latex(part, "; ".join([part.title, *map(without_metric, found.caption)]), f"tab:{target}-{part.name}"))
    for name, text in paper_diagnosed.data_files(found).items() if target in DIAGNOSED else ():
        write(folder / name, text)
