#include "report/latex.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <sstream>
#include <utility>

namespace qroar {
namespace {

constexpr std::array kEscapes{std::pair("\\", "\\textbackslash{}"),
                              std::pair("~", "\\textasciitilde{}"),
                              std::pair("^", "\\textasciicircum{}"),
                              std::pair("|", "\\textbar{}"),
                              std::pair("<", "\\textless{}"),
                              std::pair(">", "\\textgreater{}"),
                              std::pair("\"", "\\symbol{34}"),
                              std::pair("&", "\\&"),
                              std::pair("%", "\\%"),
                              std::pair("$", "\\$"),
                              std::pair("#", "\\#"),
                              std::pair("_", "\\_"),
                              std::pair("{", "\\{"),
                              std::pair("}", "\\}"),
                              std::pair("Δ", "$\\Delta$"),
                              std::pair("×", "$\\times$"),
                              std::pair("±", "$\\pm$"),
                              std::pair("−", "$-$"),
                              std::pair("·", "$\\cdot$"),
                              std::pair("ω", "$\\omega$")};

/// A cell as with_interval() and effect_text() write it: "-0.0123 [-0.0150, -0.0096]* detectable 0.0040".
struct NumberCell {
  std::string number, interval, mark, rest;
};

bool is_number(const std::string& text) {
  const auto is_part = [](char c) { return std::string_view("+-.0123456789").find(c) != std::string_view::npos; };
  return !text.empty() && std::ranges::all_of(text, is_part) &&
         std::ranges::any_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<NumberCell> read_number_cell(const std::string& text) {
  NumberCell cell;
  const std::size_t space = text.find(' ');
  cell.number = text.substr(0, space);
  if (!is_number(cell.number)) return std::nullopt;
  if (space == text.npos) return cell;
  std::string left = text.substr(space + 1);
  const std::size_t end = left.find(']');
  if (!left.starts_with("[") || end == left.npos) return std::nullopt;
  cell.interval = left.substr(0, end + 1);
  left.erase(0, end + 1);
  if (left.starts_with("*")) {
    cell.mark = "^{*}";
    left.erase(0, 1);
  }
  cell.rest = left;
  return cell;
}

/// How a column of numbers is set: with or without intervals beside it, and siunitx's table-format.
struct NumberColumn {
  bool is_aligned = true, has_intervals = false, has_sign = false;
  std::size_t before = 1, after = 0;  ///< digits

  std::string specification() const {
    if (!is_aligned) return "r";
    const std::string format = fmt::format("{}{}.{}", has_sign ? "+" : "", before, after);
    return fmt::format("S[table-format={}{}]{}", format, has_sign ? ", retain-explicit-plus" : "",
                       has_intervals ? "@{\\,}l" : "");
  }
};

NumberColumn column_of(const Table& table, std::size_t column) {
  NumberColumn found;
  bool has_number = false;
  for (const auto& row : table.rows) {
    const auto cell = read_number_cell(row[column]);
    if (!cell) continue;
    has_number = true;
    found.has_intervals |= !cell->interval.empty();
    const std::string digits = cell->number.substr(cell->number.find_first_not_of("+-"));
    found.has_sign |= digits.size() < cell->number.size();
    const std::size_t point = std::min(digits.find('.'), digits.size());
    found.before = std::max(found.before, point);
    found.after = std::max(found.after, digits.size() - std::min(digits.size(), point + 1));
  }
  found.is_aligned = has_number;
  return found;
}

/// Returns the cell of a column of numbers; what is no number stands in its middle.
std::string cell_text(const std::string& text, const NumberColumn& column) {
  const auto cell = read_number_cell(text);
  if (!column.is_aligned) return latex_escaped(text);
  if (!cell) return (text.empty() ? "" : "{" + latex_escaped(text) + "}") + (column.has_intervals ? " &" : "");
  if (!column.has_intervals) return cell->number;
  if (cell->interval.empty()) return cell->number + " &";
  return fmt::format("{} & {{\\scriptsize${}{}${}}}", cell->number, cell->interval, cell->mark,
                     latex_escaped(cell->rest));
}

/// Returns the column of labels that stand above their rows: the scheme's, else the first; none where they do not
/// repeat or nothing is beside them.
std::optional<std::size_t> block_column(const Table& table) {
  if (table.label_columns < 2) return std::nullopt;
  const auto labels = std::ranges::subrange(table.header.begin(),
                                            table.header.begin() + static_cast<std::ptrdiff_t>(table.label_columns));
  const auto scheme = std::ranges::find(labels, "rope");
  const std::size_t column = scheme == labels.end() ? 0 : static_cast<std::size_t>(scheme - labels.begin());
  std::vector<std::string> found;
  for (const auto& row : table.rows) found.push_back(row[column]);
  std::ranges::sort(found);
  return std::ranges::adjacent_find(found) == found.end() ? std::nullopt : std::optional(column);
}

using Row = std::vector<std::string>;

/// Returns the rows in blocks that share the label of a column, in order of appearance; one block without such a
/// column.
std::vector<std::vector<Row>> blocks_of(const Table& table, std::optional<std::size_t> column) {
  std::vector<std::vector<Row>> blocks;
  for (const Row& row : table.rows) {
    const auto found = std::ranges::find_if(
        blocks, [&](const auto& block) { return !column || block.front()[*column] == row[*column]; });
    (found == blocks.end() ? blocks.emplace_back() : *found).push_back(row);
  }
  return blocks;
}

/// Lines of a table's body, of which a page of article takes these and a caption.
constexpr std::size_t kMostLines = 40;

/// Returns the table in parts that each fit on a page, cut between its blocks where these are not longer themselves.
std::vector<std::vector<std::vector<Row>>> pages_of(const Table& table, std::optional<std::size_t> above) {
  std::vector<std::vector<std::vector<Row>>> pages;
  std::size_t lines = kMostLines;
  for (const std::vector<Row>& block : blocks_of(table, above)) {
    const std::size_t most = kMostLines - (above ? 2 : 0);  // beside the label and the space above it
    for (std::size_t begin = 0; begin < block.size(); begin += most) {
      const std::size_t end = std::min(begin + most, block.size()), own = end - begin + (above ? 2 : 0);
      if (lines + own > kMostLines) {
        pages.emplace_back();
        lines = 0;
      }
      pages.back().emplace_back(block.begin() + static_cast<std::ptrdiff_t>(begin),
                                block.begin() + static_cast<std::ptrdiff_t>(end));
      lines += own;
    }
  }
  return pages;
}

/// Returns a page of a table as a box that is made smaller where it is wider than the text.
std::string tabular(const Table& table, std::optional<std::size_t> above, const std::vector<std::vector<Row>>& page) {
  std::vector<NumberColumn> columns;
  std::string specification;
  Row header;
  std::size_t width = 0;
  for (std::size_t i = 0; i < table.header.size(); ++i) {
    if (i == above) continue;
    const std::string title = latex_escaped(table.header[i]);
    const NumberColumn column = i < table.label_columns ? NumberColumn{.is_aligned = false} : column_of(table, i);
    const bool is_wide = column.is_aligned && column.has_intervals;
    columns.push_back(column);
    specification += i < table.label_columns ? "l" : column.specification();
    header.push_back(is_wide ? fmt::format("\\multicolumn{{2}}{{c}}{{{}}}", title) : fmt::format("{{{}}}", title));
    width += is_wide ? 2 : 1;
  }
  std::string body;
  for (const auto& block : page) {
    if (above) {
      const std::string label = table.header[*above] + ": " + block.front()[*above];
      body += fmt::format("{}    \\multicolumn{{{}}}{{l}}{{\\textit{{{}}}}} \\\\\n",
                          body.empty() ? "" : "    \\addlinespace\n", width, latex_escaped(label));
    }
    for (Row row : block) {
      if (above) row.erase(row.begin() + static_cast<std::ptrdiff_t>(*above));
      for (std::size_t i = 0; i < row.size(); ++i) row[i] = cell_text(row[i], columns[i]);
      body += fmt::format("    {} \\\\\n", fmt::join(row, " & "));
    }
  }
  return fmt::format(
      "  \\resizebox{{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}}{{!}}{{%\n"
      "  \\begin{{tabular}}{{{}}}\n    \\toprule\n    {} \\\\\n    \\midrule\n{}    \\bottomrule\n  "
      "\\end{{tabular}}}}\n",
      specification, fmt::join(header, " & "), body);
}

std::string label_of(const std::string& name, std::size_t number) {
  const auto is_kept = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  std::string label = "tab:";
  for (const char c : name) label += is_kept(c) ? c : '-';
  return number == 1 ? label : fmt::format("{}-{}", label, number);
}

}  // namespace

std::string latex_escaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto found = std::ranges::find_if(
        kEscapes, [&](const auto& one) { return text.compare(i, std::string_view(one.first).size(), one.first) == 0; });
    if (found == kEscapes.end()) {
      out += text[i++];
    } else {
      out += found->second;
      i += std::string_view(found->first).size();
    }
  }
  return out;
}

std::string latex_text(const std::vector<Table>& tables, const std::string& note, const std::string& name) {
  std::istringstream lines(note);
  std::string first, line, comments;
  std::getline(lines, first);
  while (std::getline(lines, line)) comments += line.empty() ? "" : "% " + line + "\n";
  std::string text = "% \\usepackage{booktabs, graphicx, siunitx}\n" + comments;
  std::size_t number = 0;
  for (const Table& table : tables) {
    const bool is_said = table.title.empty() || first.starts_with(table.title + ";");
    const std::string title = is_said ? "" : table.title + "; ";
    const std::optional<std::size_t> above = block_column(table);
    std::string head =
        fmt::format("  \\caption{{{}.}}\n  \\label{{{}}}\n", latex_escaped(title + first), label_of(name, ++number));
    for (const auto& page : pages_of(table, above)) {
      text += fmt::format("\n\\begin{{table}}\n  \\centering\n{}{}\\end{{table}}\n", head, tabular(table, above, page));
      head = "  \\caption{Continued.}\n";
    }
  }
  return text;
}

}  // namespace qroar
