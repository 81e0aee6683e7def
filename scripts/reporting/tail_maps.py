"""Heat maps of tail_inflation: a figure for each cell, bands by layers, with one scale for all."""

import math

from .charts import heat_map
from .diagnostic_kinds import BAND, KINDS
from .diagnostic_points import interval
from .labels import slug
from .rows import read_csv
from .tasks import titled

FEWEST_BEHIND_A_RATE = 100


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
    cells, seen = [], set()
    for row in rows:
        maps = read_csv(found.folder(row) / "diagnostics/tail_inflation.csv", lambda lines: [points(lines) for _, points in kinds])
        if str(maps) not in seen:
            seen.add(str(maps))
            cells.append((row, maps))
    titles = titled(found.places, [row for row, _ in cells])
    span = max([0.1, *(abs(point["value"]) for _, maps in cells for own in maps for point in own if not point["few"])])
    scale = {"scheme": "redblue", "reverse": True, "domain": [-span, span]}
    made = []
    for row, maps in cells:
        told = {"what": found.places.said(row), "cell": row["id"]}
        panels = [(title, "", [point | told for point in own]) for (title, _), own in zip(kinds, maps)]
        legend = {"title": "long / short", "format": "", "labelExpr": "datum.value === 0 ? '1 (null)' : format(pow(2, datum.value), '.2f')", "values": [-span, 0, span]}
        made.append(
            heat_map(
                f"tail_inflation_{slug(titles[row['id']])}",
                f"{heading}: {found.places.said(row)}",
                note if row is cells[0][0] else "",
                panels,
                titles[row["id"]] or heading,
                scale,
                legend,
                "layer",
                BAND,
            )
        )
    return made
