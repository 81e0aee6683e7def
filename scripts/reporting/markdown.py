"""Writes sections as report.md: what the page folds is left out or comes as it is, and figures are pictures with files for a paper beside them."""

import csv
import io
import re

from .content import Cell, Code, Files, Folded, Note, Ranking, Table, Text
from .figures import Figure


def escaped(text):
    """Returns words of others such that Markdown, GitHub's formulas and HTML take nothing of them for their own."""
    text = re.sub(r"([\\`*<>|$~^]|(?<!\w)_|_(?!\w))", r"\\\1", re.sub(r"\s+", " ", str(text)))
    return text.replace("&", "&amp;").replace("](", "]\\(")


def paragraph(text):
    """Returns words of others that begin a line, where some would make a heading, a list or the target of a link."""
    return re.sub(r"^(\d*)([#+=.)\[-])", r"\1\\\2", escaped(text))


def noted(text):
    """Returns our own words, which may quote those of others: no tag begins in them outside of their `code`."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"\s+", " ", text))
    return "".join(part if number % 2 else re.sub(r"(?<!\\)<", r"\\<", part) for number, part in enumerate(parts))


def code(text):
    """Returns a code span, fenced by more backticks than the text has, that can stand in a table."""
    text = re.sub(r"\s+", " ", text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text[:1] + text[-1:] else ""
    return f"{fence}{space}{text}{space}{fence}" if text else ""


def cell(one):
    return (code if one.code else escaped)(one.text) if isinstance(one, Cell) else escaped(one)


def table(one):
    rows = one.rows()
    lines = [f"**{escaped(one.title)}**\n"] if one.title else []
    if len(rows) > one.most:
        return [*lines, f"[{one.name}.csv]({one.name}.csv) has the {len(rows)} rows.\n"]
    for title, body in one.blocks:
        lines += [f"{escaped(title)}:\n"] if title else []
        grid = [list(map(escaped, one.columns)), ["---"] * len(one.columns), *(list(map(cell, row)) for row in body)]
        lines.append("".join("| " + " | ".join(row) + " |\n" for row in grid))
    return lines


def long_tables(sections):
    """Returns the tables in whose place report.md has a link."""
    shown = [part.table if isinstance(part, Folded) else part for section in sections for part in section.parts]
    return [part for part in shown if isinstance(part, Table) and len(part.rows()) > part.most]


def harmless(text):
    """Returns a text that no spreadsheet runs."""
    return f"'{text}" if text[:1] in tuple("=+-@\t'") else text


def csv_of(one):
    """Returns a table as CSV, in whose first column stands what the rows of a block share."""
    blocks = any(title for title, _ in one.blocks)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*[""] * blocks, *one.columns])
    for title, rows in one.blocks:
        for row in rows:
            is_number = lambda cell: isinstance(cell, Cell) and cell.value != ""  # noqa: E731
            cells = [cell.text if is_number(cell) else harmless(re.sub(r"\s+", " ", str(getattr(cell, "text", cell)))) for cell in row]
            writer.writerow([*[harmless(title)] * blocks, *cells])
    return text.getvalue()


def figure(one):
    panels = " Panels have scales of their own." if scales_differ(one) else ""
    folder, slash, name = one.name.rpartition("/")  # of another report's figure
    pdf = f"{folder}{slash}pdf/{name}"
    beside = f"[SVG]({one.name}.svg), PDF for [one]({pdf}_1.pdf) and [two]({pdf}_2.pdf) columns"
    return [f"![{escaped(one.title)}]({one.name}.png)\n", f"*{escaped(one.title)}.* {one.note}{panels} {beside}.\n"]


def scales_differ(one):
    """Returns whether panels that show the same thing have axes of their own."""
    scales = {}
    for panel in one.panels:
        scales.setdefault(panel["unit"], set()).add(str(panel.get("scale")))
    return any(len(found) > 1 for found in scales.values())


def part(one):
    if isinstance(one, Table):
        return table(one)
    if isinstance(one, Figure):
        return figure(one)
    if isinstance(one, Ranking):
        said = (f"{number}. {escaped(before)} **{escaped(effect)}** {escaped(behind)}\n" for number, (before, effect, behind, _) in enumerate(one.sentences, 1))
        return [f"**{escaped(one.title)}.** {one.note}\n", "".join(said)]
    if isinstance(one, Folded):
        return table(one.table) if one.table else [line for inner in one.parts for line in part(inner)]
    if isinstance(one, Files):
        return [] if one.of_page else [f"{noted(one.words)}: {', '.join(f'[{path}]({path})' for path in one.paths)}.\n"]
    if isinstance(one, Code):
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", one.text)), default=0))
        return [f"{fence}\n{one.text}\n{fence}\n"]
    if isinstance(one, Note):
        return [f"**{noted(one.text)}**\n" if one.role == "warning" else f"{noted(one.text)}\n"]
    assert isinstance(one, Text)
    return [f"{paragraph(one.text)}\n"]


def render(sections):
    head, *others = sections
    lines = [f"# {escaped(head.title)}\n", *(line for one in head.parts for line in part(one))]
    for section in others:
        lines += [f"## {escaped(section.title)}\n", *(line for one in section.parts for line in part(one))]
    return "\n".join(lines)
