"""What a report is made of.  Both renderers, markdown.py and page.py, write each of these; whoever makes them computes a number once."""

from dataclasses import dataclass, field


@dataclass
class Text:
    """Words of others (a file's, a configuration's): renderers escape all of them."""

    text: str


@dataclass
class Note:
    """Our own words, in which `backticks` mark code; role: "", "note" (small) or "warning"."""

    text: str
    role: str = "note"


@dataclass
class Cell:
    text: str
    value: float | str = ""  # what a column is sorted by; "" for words
    controls: list = field(default_factory=list)  # [(name, text)] of a search's controls, folded under their cell
    code: bool = False


@dataclass
class Table:
    """blocks: [(title, rows of cells or texts)]; a title is what the rows below share.  Where there are more rows than `most`, report.md has a link to
    NAME.csv instead."""

    columns: list
    blocks: list
    title: str = ""
    name: str = ""  # of its file, and the id of the page's table
    most: int = 60

    def rows(self):
        return [row for _, rows in self.blocks for row in rows]


@dataclass
class Ranking:
    """Sentences, the most important first: [(words before, the effect, words behind, whether it survives)]."""

    title: str
    note: str
    sentences: list


@dataclass
class Folded:
    """Parts that the page shows at a click, under their title; report.md has `table`, or shows them where there is none."""

    title: str
    parts: list
    table: Table | None = None


@dataclass
class Files:
    """Files beside the report; of_page: which stay beside report.html, and which a published report.md is without."""

    words: str
    paths: list
    of_page: bool = False


@dataclass
class Code:
    text: str


@dataclass
class Section:
    name: str  # the page's anchor
    title: str
    parts: list
