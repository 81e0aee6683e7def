"""The last sections: cells that failed, where the numbers come from, how to cite."""

import json
import re

import yaml

from .axes import Layout
from .content import Cell, Code, Section, Table, Text
from .rows import SCRIPTS


def flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)


def shared(rows, part, hidden):
    """Returns key | value lines of the values that the rows share, or of the range that they cover."""
    values = {}
    for row in rows:
        for key, value in flatten(row[part] if isinstance(row[part], dict) else {}):
            if not any(key == name or key.startswith(name + ".") for name in hidden):
                values.setdefault(key, set()).add(value)
    lines = []
    for key, found in values.items():
        found = sorted(found, key=lambda text: (len(text), text) if text.isdigit() else (0, text))
        lines.append([key, found[0] if len(found) == 1 else f"{found[0]} to {found[-1]} ({len(found)} values)"])
    return lines


def shared_table(title, cells, part, hidden):
    return Table([title, ""], [("", [[key, Cell(value, code=True)] for key, value in shared(cells, part, hidden)])], most=1000)


def provenance(cells, layout=None):
    """Returns the environment of the cells and, where they are of one experiment with a layout, their configuration beside its axes."""
    tables = [shared_table("environment", cells, "environment", [])]
    if layout is not None:
        tables.append(shared_table("config, beside the axes", cells, "config", [axis.name for axis in layout.axes]))
    return Section("provenance", "Where the numbers come from", tables)


def failures(found):
    layout = Layout(found.rows)
    body = [[Cell(row["id"], code=True), *(axis.of(row) for axis in layout.axes), row.get("error") or ""] for row in found.failed]
    return Section("failed", "Failed cells", [Table(["cell", *(axis.title for axis in layout.axes), "error"], [("", body)], most=1000)] if body else [])


def bibtex(reference):
    people = " and ".join(
        f"{person['family-names']}, {person['given-names']}" if "family-names" in person else f"{{{person['name']}}}" for person in reference["authors"]
    )
    fields = {
        "title": f"{{{reference['title']}}}",
        "author": people,
        "year": reference.get("year"),
        "url": reference.get("url"),
        "note": f"version {reference['version']}" if "version" in reference else None,
    }
    name = reference["authors"][0].get("family-names", "").lower() + str(reference.get("year", "")) + re.sub(r"\W", "", reference["title"].split()[0]).lower()
    return f"@misc{{{name},\n" + "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items() if value) + "}"


def citation(_):
    """From CITATION.cff, of the checkout or beside the scripts (a submission's copy)."""
    files = [path for path in (SCRIPTS.parent / "CITATION.cff", SCRIPTS / "CITATION.cff") if path.is_file()]
    if not files:
        return Section("cite", "How to cite", [])
    cite = yaml.safe_load(files[0].read_text(encoding="utf-8"))
    return Section("cite", "How to cite", [Text(cite["message"]), *(Code(bibtex(one)) for one in [cite, *cite.get("references", [])])])
