"""Writes a report's table as LaTeX: a float for \\input, with booktabs, numbers in siunitx columns and their intervals small beside them."""
import dataclasses

from reporting.content import Cell

PAGE = 45  # rows
SPECIAL = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
           "\\": r"\textbackslash{}", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "×": r"$\times$", "Δ": r"$\Delta$", "√": r"$\surd$", "φ": r"$\varphi$",
           "ω": r"$\omega$", "°": r"$^\circ$"}


def escaped(text):
    return "".join(SPECIAL.get(letter, letter) for letter in str(text))


def split(cell):
    """Returns a cell's number and its interval."""
    value, _, interval = cell.text.partition(" [")
    return value, f"{{\\scriptsize$[{interval}$}}" if interval else ""


class Column:
    """What a column of the table is in LaTeX: words, numbers, or numbers and their intervals in two columns."""

    def __init__(self, title, cells):
        numbers = [split(cell) for cell in cells if isinstance(cell, Cell)]
        self.title, self.numbers, self.wide = escaped(title), bool(numbers), any(interval for _, interval in numbers)
        places = [value.lstrip("+-").partition(".") for value, _ in numbers]
        sign = "+" if any(value[0] in "+-" for value, _ in numbers) else ""
        self.form = f"{sign}{max((len(whole) for whole, *_ in places), default=1)}.{max((len(rest) for *_, rest in places), default=0)}"

    def kind(self):
        return f"S[table-format={self.form}]" + "@{\\,}l" * self.wide if self.numbers else "l"

    def head(self):
        return f"\\multicolumn{{2}}{{c}}{{{self.title}}}" if self.wide else f"{{{self.title}}}"

    def said(self, cell):
        value, interval = split(cell) if isinstance(cell, Cell) else (f"{{{escaped(cell)}}}" if cell and self.numbers else escaped(cell), "")
        return f"{value} & {interval}" if self.wide else value


def latex(table, caption, label):
    """Returns a float, and where the rows are more than a page holds one for each block."""
    parts = [table] if len(table.rows()) <= PAGE else [dataclasses.replace(table, blocks=[block]) for block in table.blocks]
    labels = [label] if len(parts) == 1 else [f"{label}-{number}" for number in range(1, len(parts) + 1)]
    return "\n".join(["% \\usepackage{booktabs, siunitx}", "", *(floating(part, caption, name) for part, name in zip(parts, labels))])


def floating(table, caption, label):
    columns = [Column(title, [row[place] for row in table.rows()]) for place, title in enumerate(table.columns)]
    width, blocks = sum(1 + column.wide for column in columns), []
    for title, rows in table.blocks:
        lines = [f"    \\multicolumn{{{width}}}{{l}}{{\\textit{{{escaped(title)}}}}} \\\\"]
        lines += [f"    {' & '.join(column.said(cell) for column, cell in zip(columns, row))} \\\\" for row in rows]
        blocks.append("\n".join(lines))
    return "\n".join(["\\begin{table}", "  \\centering", f"  \\caption{{{escaped(caption)}}}",
                      f"  \\label{{{label}}}", "  \\footnotesize\\setlength{\\tabcolsep}{4pt}",
                      f"  \\begin{{tabular}}{{{''.join(column.kind() for column in columns)}}}", "    \\toprule",
                      f"    {' & '.join(column.head() for column in columns)} \\\\", "    \\midrule", "\n    \\addlinespace\n".join(blocks),
                      "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])
