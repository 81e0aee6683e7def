"""Builds a report once, as a list of sections, and has it written in both forms with its figures' files."""

import sys
from itertools import chain, count

from json_lines import write_atomically

from . import markdown, page
from .answer import answer, question, verdicts
from .axes import Layout
from .charts import template
from .closing import citation, failures, provenance
from .content import Files, Folded, Note, Section, Table
from .diagnostics import diagnostics
from .effects import effects, metrics
from .figures import Figure, files
from .interactions import interactions
from .pareto import pareto
from .rows import Findings, not_publishable
from .searches import searches
from .tables import names, tables
from .tasks import positions, tasks

NUMBERS = (effects, interactions, pareto, searches, tasks, positions)


def head(found):
    """What stands above all sections."""
    parts = [Note(f"Not publishable: {cause}. Run it again from a clean tree.", "warning") for cause in [not_publishable(found.cells)] if cause]
    return Section(
        "head",
        found.rows[0]["experiment"],
        [*parts, Note(counted(found), ""), *(Note(line, "") for line in found.caption)],
    )


def counted(found):
    cells = [cell for cell in found.cells if cell["status"] == "ok"]
    of = f"{len(found.finished)} rows, means over the rounding draws of " if len(cells) > len(found.finished) else ""
    return f"{of}{len(cells)} cells finished, {len(found.cells) - len(cells)} failed."


def apart(made):
    """Returns sections whose figures have a file each, and whose tables, too: words in other letters, and words that differ in signs, are called alike."""
    parts = [part for section in made for part in section.parts]
    for kind in (Figure, Table):
        taken = set()
        for part in (part.table if isinstance(part, Folded) else part for part in parts):
            if isinstance(part, kind) and part.name:
                numbered = (f"{part.name}_{number}" for number in count(2))
                part.name = next(name for name in chain([part.name], numbered) if name not in taken)
                taken.add(part.name)
    return made


def sections(found):
    """Returns the sections that have anything to say, in reading order; an experiment that asks for diagnostics is about them."""
    made = [question(found)]
    if found.finished:
        made += [*diagnostics(found), answer(found), verdicts(found), *(make(found) for make in NUMBERS), metrics(found), tables(found)]
        made.append(names(found, made))
    made += [failures(found), provenance(found.cells, Layout(found.rows)), citation(found)]
    return apart([head(found), *(section for section in made if section.parts)])


def write(path, content):
    write_atomically(path, [content if isinstance(content, bytes) else content.encode()])


def write_report(results, options, out, with_page=True, beside=()):
    """Writes the report of a results folder and returns report.md's path; options: of `qroar show`; beside: paired tables in `out` that it names."""
    return write_found(Findings.of(results, options), out, with_page, beside)


def write_found(found, out, with_page=True, beside=()):
    """Writes the report of what was found, as write_report() does.  What it shows is there before it."""
    if (out / "pdf").is_symlink():
        sys.exit(f"report: {out / 'pdf'} is a link, which is not followed; remove it")
    made = sections(found)
    if beside:
        made.append(Section("paired", "Paired tables", [Files("As `qroar show --baseline` prints them", beside)]))
    for section in made:
        for figure in section.parts:
            if isinstance(figure, Figure):
                for name, content in files(figure, template(figure.kind)).items():
                    write(out / name, content)
    for table in markdown.long_tables(made):
        write(out / f"{table.name}.csv", markdown.csv_of(table))
    write(out / "report.md", markdown.render(made))
    if with_page:
        write(out / "report.html", page.render(made))
    return out / "report.md"
