#include "report/pgfplots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "report/row_axes.h"
#include "results/results.h"

namespace qroar {
namespace {

const std::string kLength = "windows.length";

/// Returns whether the axis has numbers alone, in every row, and several of them.
bool is_numeric(const std::vector<Json>& rows, const std::string& axis) {
  std::set<double> numbers;
  for (const Json& row : rows) {
    const auto found = row["axes"].find(axis);
    if (found == row["axes"].end() || !found->is_number()) return false;
    numbers.insert(found->get<double>());
  }
  return numbers.size() > 1;
}

std::string number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "nan"; }

}  // namespace

std::string x_axis_of(const std::vector<Json>& rows) {
  if (is_numeric(rows, kLength)) return kLength;
  const std::vector<std::string> names = axis_names(rows);
  const auto found = std::ranges::find_if(names, [&](const std::string& name) { return is_numeric(rows, name); });
  return found == names.end() ? "" : *found;
}

double place_of(const Json& row, const std::string& x, std::size_t number) {
  return x.empty() ? static_cast<double>(number + 1) : row["axes"][x].get<double>();
}

std::string line_of(const Json& row, const std::string& x, bool with_names) {
  std::string label;
  for (const auto& [axis, value] : row["axes"].items()) {
    const std::string text = axis == x ? "" : axis_label(value);
    if (!text.empty()) label += (label.empty() ? "" : ", ") + (with_names ? axis + " " : "") + text;
  }
  return label.empty() ? "the experiment" : label;
}

bool need_names(const std::vector<Json>& rows, const std::string& x) {
  std::set<std::pair<double, std::string>> points;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!points.emplace(place_of(rows[i], x, i), line_of(rows[i], x, false)).second) return true;
  }
  return false;
}

std::string pgfplots_text(const std::string& x_name, const std::vector<FigurePoint>& points) {
  std::vector<std::string> lines;
  std::map<double, std::map<std::string, const FigurePoint*>> at;
  for (const FigurePoint& point : points) {
    if (std::ranges::find(lines, point.line) == lines.end()) lines.push_back(point.line);
    at[point.x].emplace(point.line, &point);
  }
  std::string text = fmt::format(
      "# x is {}. For each line: \\addplot+[error bars/.cd, y dir=both, y explicit] table[x=x, y=L1, y error "
      "minus=L1_minus,\n"
      "# y error plus=L1_plus]{{FILE}}; lengths of error bars lead to the ends of the 95 % interval.\n",
      x_name.empty() ? "the number of the row" : x_name);
  std::string header = "x";
  for (std::size_t i = 1; i <= lines.size(); ++i) {
    text += fmt::format("# L{}: {}\n", i, lines[i - 1]);
    header += fmt::format(" L{0} L{0}_minus L{0}_plus", i);
  }
  text += header + "\n";
  for (const auto& [x, found] : at) {
    text += number(x);
    for (const std::string& line : lines) {
      const auto point = found.find(line);
      const FigurePoint missing{x, line, NAN, NAN, NAN};
      const auto& [own_x, own_line, value, low, high] = point == found.end() ? missing : *point->second;
      text += fmt::format(" {} {} {}", number(value), number(value - low), number(high - value));
    }
    text += "\n";
  }
  return text;
}

}  // namespace qroar
