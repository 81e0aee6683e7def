// Tables for a paper: floats for the packages booktabs, graphicx and siunitx.
#pragma once
#include <string>
#include <vector>

#include "report/table.h"

namespace qroar {

/// Returns one table float for each table, ready for \input, or several for one that a page does not take: numbers
/// aligned at their point with intervals beside them in small type, rows that share their first label under a line of
/// their own, and all of it smaller where it is wider than the text.  The caption is the table's title and
/// the first line of `note`; further lines of the note, warnings among them, become comments.  \ref{tab:NAME} is the
/// first table, \ref{tab:NAME-2} the second; what is no letter or digit of `name` becomes a hyphen.
std::string latex_text(const std::vector<Table>& tables, const std::string& note, const std::string& name);

/// Returns text for LaTeX: whatever is special in it is escaped, and our own symbols are in math mode.
std::string latex_escaped(const std::string& text);

}  // namespace qroar
