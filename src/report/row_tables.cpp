#include "report/row_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "report/row_axes.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

const std::string kLength = "windows.length";

double number_of(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

/// Returns the values of an axis that becomes columns: lengths by size, others in order of appearance.
std::vector<std::string> columns_of(const std::vector<Json>& rows, const std::string& axis) {
  std::vector<Json> values;
  for (const Json& row : rows) {
    if (!row["axes"].contains(axis)) return {};
    if (std::find(values.begin(), values.end(), row["axes"][axis]) == values.end()) values.push_back(row["axes"][axis]);
  }
  if (axis == kLength) std::sort(values.begin(), values.end());
  std::vector<std::string> labels;
  for (const Json& value : values) labels.push_back(axis_label(value));
  return labels;
}

/// Returns the table of rows by all axes except `across`, which becomes columns, in order of appearance; empty when two
/// rows have the same place or the axis has one value.
Table grid_table(const std::vector<Json>& rows, const std::string& across, const std::vector<std::string>& texts) {
  const std::vector<std::string> columns = columns_of(rows, across);
  std::vector<std::string> names = axis_names(rows);
  const std::vector<std::string> sizes = size_names(rows);
  std::erase(names, across);
  std::vector<std::vector<std::string>> keys;
  std::map<std::pair<std::vector<std::string>, std::string>, std::string> cells;
  for (std::size_t i = 0; i < rows.size() && columns.size() > 1; ++i) {
    std::vector<std::string> key;
    for (const auto& name : names) key.push_back(axis_cell(rows[i], name));
    for (const auto& name : sizes) key.push_back(size_cell(rows[i], name));
    if (!cells.emplace(std::pair(key, axis_cell(rows[i], across)), texts[i]).second) return {};
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  if (keys.empty()) return {};
  names.insert(names.end(), sizes.begin(), sizes.end());
  Table table{names, {}, names.size()};
  table.header.insert(table.header.end(), columns.begin(), columns.end());
  for (const auto& key : keys) {
    table.rows.push_back(key);
    for (const auto& column : columns) {
      const auto cell = cells.find({key, column});
      table.rows.back().push_back(cell == cells.end() ? "" : cell->second);
    }
  }
  return table;
}

/// Returns the grid with the lengths across, or else the texts.
Table grid_table(const std::vector<Json>& rows, const std::vector<std::string>& texts) {
  Table table = grid_table(rows, kLength, texts);
  return table.rows.empty() ? grid_table(rows, "data", texts) : table;
}

/// Returns the number of tokens or questions of the first metric; rows with only diagnostics have none.
std::string scored_cell(const Json& row) {
  if (!is_ok(row) || row["metrics"].empty()) return "";
  const Json& count = value_at(row["metrics"].begin().value(), "/count");
  return count.is_null() ? "" : count.dump();
}

Table flat_table(const std::vector<Json>& rows, const Differences& differences, bool for_paper) {
  const std::vector<std::string> names = axis_names(rows);
  const std::vector<std::string> sizes = size_names(rows);
  const std::vector<std::string> id(for_paper ? 0 : 1, "id");
  Table table{id, {}, names.size() + id.size()};
  table.header.insert(table.header.end(), names.begin(), names.end());
  table.header.insert(table.header.end(), sizes.begin(), sizes.end());
  const std::vector<std::string> metrics = shown_metrics(rows);
  table.header.insert(table.header.end(), metrics.begin(), metrics.end());
  if (!for_paper) {
    for (const char* column : {"scored", "seconds", "tokens/s", "TFLOP/s", "peak MB"})
      table.header.emplace_back(column);
  }
  for (const auto& metric : differences.metrics()) {
    for (auto& column : differences.header(metric)) table.header.push_back(std::move(column));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    std::vector<std::string> cells;
    if (!for_paper) cells.push_back(row["id"].get<std::string>());
    for (const auto& name : names) cells.push_back(axis_cell(row, name));
    for (const auto& name : sizes) cells.push_back(size_cell(row, name));
    for (const auto& metric : metrics) cells.push_back(metric_text(row, metric));
    const auto cost = [&](const char* place, double unit, const char* format) {
      const double value = number_of(value_at(row, place)) * unit;
      cells.push_back(std::isnan(value) ? "" : fmt::format(fmt::runtime(format), value));
    };
    if (!for_paper) {
      cells.push_back(scored_cell(row));
      cost("/seconds", 1, "{:.2f}");
      cost("/tokens_per_second", 1, "{:.0f}");
      cost("/model_tflops_per_second", 1, "{:.3f}");
      cost("/peak_bytes", 1e-6, "{:.0f}");
    }
    for (const auto& metric : differences.metrics()) {
      for (auto& cell : differences.cells(i, metric)) cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// Returns the tables by length or text, one for each metric and one for each difference from a baseline of its own;
/// none where the rows do not form such a grid.
std::vector<Table> grids(const std::vector<Json>& rows, const Differences& differences) {
  std::vector<Table> tables;
  const std::vector<std::string> metrics = shown_metrics(rows);
  const auto add = [&](const std::string& title, const std::vector<std::string>& texts) {
    tables.push_back(grid_table(rows, texts));
    tables.back().title = title;
  };
  for (const auto& metric : metrics) {
    std::vector<std::string> texts;
    for (const Json& row : rows) texts.push_back(metric_text(row, metric));
    add(metrics.size() > 1 || !differences.empty() ? metric : "", texts);
  }
  for (const auto& metric : differences.metrics()) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::vector<std::string> cells = differences.cells(i, metric);
      texts.push_back(cells[1].empty() ? cells[0] : fmt::format("{} detectable {}", cells[0], cells[1]));
    }
    add("Δ" + metric, texts);
  }
  const bool complete = std::ranges::none_of(tables, [](const Table& table) { return table.rows.empty(); });
  return complete ? tables : std::vector<Table>();
}

}  // namespace

std::vector<std::string> shown_metrics(const std::vector<Json>& rows) {
  std::vector<std::string> names;
  for (const Json& row : rows) {
    for (const auto& [name, metric] : row["metrics"].items()) {
      const bool shown = (name != "nll" || !row["metrics"].contains("perplexity")) &&
                         (!name.starts_with("delta_p_") || name == "delta_p_rms");
      if (shown && std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::vector<Table> row_tables(const std::vector<Json>& rows, const Differences& differences, bool own_baselines,
                              bool for_paper) {
  std::vector<Table> tables;
  if (differences.empty() || own_baselines) tables = grids(rows, differences);
  if (tables.empty()) tables.push_back(flat_table(rows, differences, for_paper));
  return tables;
}

}  // namespace qroar
