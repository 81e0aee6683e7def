"""The section on searches: what their scales and their controls do, in figures and tables, and what each search tried."""

from .axes import LENGTH
from .content import Folded, Section, Table, Text
from .effects import searched
from .points import quantizer_of, scheme_of
from .rows import read_csv, searches_of

COLUMNS = ["candidate", "verdict", "score", "cost so far", "g"]
FULL_RANGE = 24  # candidates of a search's history that are shown


def number(text):
    return f"{float(text):.5g}" if text else ""


def history(lines):
    """Returns the candidates of search.csv."""
    return [[line["candidate"], line["verdict"], number(line["score"]), number(line["cost"]), " ".join(map(number, line["g"].split()))] for line in lines]


def history_of(found, cell, search):
    """Returns the lines of a search's history that are shown, and what it came to."""
    file = found.results / "cells" / cell / "search.csv"
    lines = read_csv(file, history) if file.is_file() else []
    best = [line for line in lines if line[1] in ("identity", "best so far")]
    kept = lines if len(lines) <= FULL_RANGE else best[-FULL_RANGE:]
    facts = [
        f"{search['candidates']} candidates, {search['refused']} refused by the guard",
        f"cost {search['cost']:g} forwards over the dev windows",
        f"gain on the dev texts {search['dev_gain']:.4f} nats",
        "g " + " ".join(f"{value:.4g}" for value in search["g"][:24]),
        search.get("note") or "",
    ]
    if len(kept) < len(lines):
        facts.append(f"shown: the {len(kept)} last that were the best so far, of {len(lines)} in search.csv")
    return kept, "; ".join(filter(None, facts)) + "."


def searches(found):
    """What each search did, once where rows of several lengths share one; each rounding draw has its own."""
    tried, lines_of_all = {}, []
    for row in found.shown:
        own = searches_of(row) if "searched" in row else {}
        draws = {draw["id"]: draw["draw"] for draw in row.get("draws", [])}
        axes = [axis for axis in found.places.rest_axes if axis.name != LENGTH]
        for cell, search in own.items():
            draw = f"draw {draws[cell]}" if len(own) > 1 else ""
            title = " · ".join(filter(None, [scheme_of(row), quantizer_of(row), found.places.rest(row, axes), draw]))
            if (title, search["dev_nll"]) in tried:
                continue
            kept, facts = history_of(found, cell, search)
            lines_of_all += [[title, *line] for line in kept]
            parts = [Text(facts)] + ([Table(COLUMNS, [("", kept)])] if kept else [])
            tried[title, search["dev_nll"]] = Folded(f"{title}: gain on the dev texts {search['dev_gain']:.4f} nats", parts)
    table = Table(["search", *COLUMNS], [("", lines_of_all)], title="What each search tried", name="search_history", most=0)
    histories = [Folded("What each search tried", list(tried.values()), table)] if tried else []
    return Section("searches", "Searches and their controls", searched(found) + histories)
