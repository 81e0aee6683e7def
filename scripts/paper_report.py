"""The page over all targets of scripts/paper: the verdicts, then of each target its question, its answer and its first figures; TARGET/report.html has
the rest."""
import dataclasses
from collections import Counter

from paper_claims import effect_text
from paper_shown import NOT_OF_THE_LOSS, shown
from reporting import markdown, page
from reporting.answer import answer, question
from reporting.build import write
from reporting.closing import citation, provenance
from reporting.content import Cell, Files, Note, Section, Table
from reporting.diagnostics import diagnostics
from reporting.effects import effects, metrics
from reporting.figures import Figure
from reporting.rows import TABLES, not_publishable


def of_target(name, found):
    """Returns a target's section, whose figures are the files of its own report, and the row's model and texts."""
    of_papers = [*shown(name, found), *(part for section in diagnostics(found) for part in section.parts)]
    answers, of_losses = ([], []) if name in NOT_OF_THE_LOSS else (answer(found).parts, [*effects(found).parts, *metrics(found).parts[:1]])
    figures = [part for part in (*of_papers, *of_losses) if isinstance(part, Figure)]
    tables = [dataclasses.replace(part, name="") for part in of_papers if isinstance(part, Table) and len(part.rows()) <= part.most]
    files = [f"{name}/{path.name}" for path in sorted(found.results.iterdir()) if path.suffix in TABLES]
    parts = [*question(found).parts, Files("All of it", [f"{name}/report.html"], of_page=True), Files("Tables", files),
             *tables, *answers]
    unclean = not_publishable(found.cells)
    return Section(name, name, [*([Note(f"Not publishable: {unclean}.", "warning")] if unclean else []), *parts,
                                *(dataclasses.replace(figure, name=f"{name}/{figure.name}") for figure in figures)])


def write_page(out, model, verdicts, found):
    """Writes report.html and report.md over the finished targets, {name: Findings} in order, into `out` and returns report.html's path."""
    counts = Counter(entry["verdict"] for entry in verdicts)
    body = [[Cell(entry["verdict"]), entry["claim"], Cell(effect_text(entry), entry["effect"]) if entry["effect"] is not None else "",
             entry["why"], f"{entry['experiment']}: {entry['source']}"] for entry in verdicts]
    head = Section("head", f"The papers' tables and figures on {model}", [
        Note("Of arXiv 2509.14391 and 2510.00028, by scripts/paper.", ""),
        Note(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) + f", of {len(verdicts)} claims.", "")])
    claims = Section("verdicts", "Verdicts", [
        Note("How a verdict follows from an effect and its 95 % interval: docs/paper.md."),
        Table(["verdict", "claim", "measured here", "why", "target and source"], [("", body)], name="claims", most=100)])
    cells = [cell for target in found.values() for cell in target.cells]
    sections = [head, *([claims] if body else []), *(of_target(*target) for target in found.items()), provenance(cells), citation(None)]
    write(out / "report.md", markdown.render(sections))
    write(out / "report.html", page.render(sections))
    return out / "report.html"
