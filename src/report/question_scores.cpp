// The paired comparison of two rows' answers, question by question.
#include <algorithm>
#include <map>

#include "base/csv.h"
#include "base/error.h"
#include "base/files.h"
#include "base/number.h"
#include "report/paired.h"

namespace qroar {
namespace {

using Line = std::map<std::string, std::string>;

std::vector<Line> read_table(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  std::vector<std::string> columns;
  std::vector<Line> table;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    const std::vector<std::string> fields = csv_fields(text.substr(begin, end - begin));
    if (columns.empty()) {
      columns = fields;
      continue;
    }
    Line line;
    if (fields.size() != columns.size())
      fail("{}: a line does not have as many fields as the first one", file.string());
    for (std::size_t i = 0; i < fields.size(); ++i) line[columns[i]] = fields[i];
    table.push_back(std::move(line));
  }
  return table;
}

/// Returns the value of a column, or whether two columns are equal, by the metric's name.
std::optional<double> score(const Line& line, const std::string& metric, const std::filesystem::path& file) {
  for (const auto& [name, choice] : {std::pair("acc", "choice"), {"acc_norm", "choice_norm"}}) {
    if (metric == name && line.contains(choice)) return line.at(choice) == line.at("label") ? 1 : 0;
  }
  const auto found = line.find(metric == "accuracy" ? "right" : metric);
  if (found == line.end()) return std::nullopt;
  double value = 0;
  const std::string& text = found->second;
  if (read_number(text, value) != std::errc())
    fail("{}: expected a number under '{}', found '{}'", file.string(), found->first, text);
  return value;
}

}  // namespace

Scores question_scores(const Results& results, const Json& row, const std::string& metric) {
  const auto slash = metric.rfind('/');
  if (slash == metric.npos || !row["metrics"].contains(metric)) return {};
  const auto file = results.cell(row["id"].get<std::string>()) / "tasks" / (metric.substr(0, slash) + ".csv");
  Scores scores;
  for (const Line& line : read_table(file)) {
    const auto found = score(line, metric.substr(slash + 1), file);
    if (!found) return {};
    std::string name;
    for (const char* column : {"id", "label", "length", "depth", "sample"}) {
      if (line.contains(column)) name += line.at(column) + " ";
    }
    scores.emplace_back(name, *found);
  }
  return scores;
}

PairedDifference paired_difference(const Scores& a, const Scores& b) {
  const auto same = [](const auto& x, const auto& y) { return x.first == y.first; };
  if (a.size() != b.size() || !std::ranges::equal(a, b, same)) return {};
  Moments moments;
  for (std::size_t i = 0; i < a.size(); ++i) moments.add(a[i].second - b[i].second);
  return {moments.mean(), moments.standard_error(), moments.count};
}

}  // namespace qroar
