#include "report/show.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "report/beside_axes.h"
#include "report/caption.h"
#include "report/differences.h"
#include "report/effects.h"
#include "report/interaction.h"
#include "report/row_axes.h"
#include "report/show_controls.h"
#include "report/show_programs.h"
#include "report/table.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

const std::string kLength = "windows.length";

double number_of(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

/// Returns the metrics that tables show: perplexity without the mean NLL, and all others except percentiles.
std::vector<std::string> metrics_of(const std::vector<Json>& rows) {
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

Table flat_table(const std::vector<Json>& rows, const Differences& differences) {
  const std::vector<std::string> names = axis_names(rows);
  const std::vector<std::string> sizes = size_names(rows);
  Table table{{"id"}, {}, names.size() + 1};
  table.header.insert(table.header.end(), names.begin(), names.end());
  table.header.insert(table.header.end(), sizes.begin(), sizes.end());
  const std::vector<std::string> metrics = metrics_of(rows);
  table.header.insert(table.header.end(), metrics.begin(), metrics.end());
  for (const char* column : {"scored", "seconds", "tokens/s", "TFLOP/s", "peak MB"}) table.header.emplace_back(column);
  for (const auto& metric : differences.metrics()) {
    for (auto& column : differences.header(metric)) table.header.push_back(std::move(column));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    std::vector<std::string> cells{row["id"].get<std::string>()};
    for (const auto& name : names) cells.push_back(axis_cell(row, name));
    for (const auto& name : sizes) cells.push_back(size_cell(row, name));
    for (const auto& metric : metrics) cells.push_back(metric_text(row, metric));
    cells.push_back(scored_cell(row));
    const auto cost = [&](const char* place, double unit, const char* format) {
      const double value = number_of(value_at(row, place)) * unit;
      cells.push_back(std::isnan(value) ? "" : fmt::format(fmt::runtime(format), value));
    };
    cost("/seconds", 1, "{:.2f}");
    cost("/tokens_per_second", 1, "{:.0f}");
    cost("/model_tflops_per_second", 1, "{:.3f}");
    cost("/peak_bytes", 1e-6, "{:.0f}");
    for (const auto& metric : differences.metrics()) {
      for (auto& cell : differences.cells(i, metric)) cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// Returns the explanation of the differences.
std::string difference_note(const Differences& differences, const std::string& baseline) {
  if (differences.empty()) return "";
  return fmt::format(
      "; Δ: against {} over the same windows or questions, with 95 % intervals; detectable: the smallest effect that "
      "is "
      "found with a probability of 80 %; {}",
      baseline, differences.count_text());
}

/// Returns whether the row belongs to a cell of the plan; true for every row where there is no plan.
bool is_planned(const Json& row, const ShowOptions& options) {
  return !options.planned || options.planned->contains(row["id"].get<std::string>());
}

/// Restores infinity: a value that exceeds double is null in row.json, since JSON has no infinity (results/results.h).
void restore_infinity(Json& metrics) {
  for (auto& [name, metric] : metrics.items()) {
    if (metric.is_object() && metric.contains("value") && metric["value"].is_null()) metric["value"] = HUGE_VAL;
  }
}

/// Returns a label that says which layers each rule of `quant` is for; of other values, all that they contain.
std::string long_label(const Json& value) {
  const auto is_rule = [](const Json& item) { return item.is_object() && item.contains("match"); };
  if (!value.is_array() || value.empty() || !std::ranges::all_of(value, is_rule)) return value.dump();
  std::string label;
  for (const Json& rule : value) {
    label += fmt::format("{}{} in {}", label.empty() ? "" : " + ", axis_label(rule), axis_label(rule["match"]));
  }
  return label;
}

/// Gives values of an axis that have one label though they differ, such as one format in other layers, longer labels:
/// rows are told apart and compared by their labels.
void tell_apart(std::vector<Json>& rows) {
  for (const std::string& axis : axis_names(rows)) {
    std::map<std::string, std::set<std::string>> values;  // by label
    for (const Json& row : rows) {
      if (row["axes"].contains(axis)) values[axis_label(row["axes"][axis])].insert(row["axes"][axis].dump());
    }
    for (Json& row : rows) {
      if (!row["axes"].contains(axis)) continue;
      Json& value = row["axes"][axis];
      if (values[axis_label(value)].size() > 1) value = long_label(value);
    }
  }
}

/// Returns the rows for tables, with the values that distinguish them added to their axes.
std::vector<Json> for_tables(std::vector<Json> rows, const std::vector<Json>& beside) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [path, value] : beside[i].items()) rows[i]["axes"][path] = value;
    restore_infinity(rows[i]["metrics"]);
  }
  tell_apart(rows);
  return rows;
}

/// Returns a table by length or text; empty where the rows do not form such a grid.
std::string grid(const std::vector<Json>& rows, const std::string& title, const std::vector<std::string>& texts,
                 const ShowOptions& options) {
  const Table table = grid_table(rows, texts);
  return table.rows.empty() ? "" : (title.empty() ? "" : title + "\n") + table.render(options.format);
}

/// Returns the tables by length or text, one for each metric and one for each difference from a baseline of its own;
/// empty where the rows do not form such a grid.
std::string grids(const std::vector<Json>& rows, const Differences& differences, const ShowOptions& options) {
  const bool own_baselines = options.baseline.find('=') != std::string::npos;
  if (!differences.empty() && !own_baselines) return "";
  std::vector<std::string> tables;
  const std::vector<std::string> metrics = metrics_of(rows);
  for (const auto& metric : metrics) {
    std::vector<std::string> texts;
    for (const Json& row : rows) texts.push_back(metric_text(row, metric));
    const bool has_title = metrics.size() > 1 || !differences.empty();
    tables.push_back(grid(rows, has_title ? metric : "", texts, options));
  }
  for (const auto& metric : differences.metrics()) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::vector<std::string> cells = differences.cells(i, metric);
      texts.push_back(cells[1].empty() ? cells[0] : fmt::format("{} detectable {}", cells[0], cells[1]));
    }
    tables.push_back(grid(rows, "Δ" + metric, texts, options));
  }
  if (std::ranges::any_of(tables, &std::string::empty)) return "";
  return fmt::format("{}", fmt::join(tables, "\n"));
}

}  // namespace

std::string left_out_note(std::size_t rows) {
  return rows == 1
             ? "1 row of a cell that the plan no longer has is left out; show --all has it"
             : fmt::format("{} rows of cells that the plan no longer has are left out; show --all has them", rows);
}

std::string show(const Results& results, const std::vector<Json>& all, const ShowOptions& options) {
  std::vector<Json> kept;
  bool has_others = false;
  for (const Json& row : all) {
    const bool planned = is_planned(row, options);
    if (planned || options.all) kept.push_back(row);
    has_others = has_others || (!planned && options.all);
  }
  const std::string note = kept.size() == all.size() ? "" : left_out_note(all.size() - kept.size());
  if (kept.empty()) fail("{}: no finished cells yet{}", results.folder().string(), note.empty() ? "" : "; " + note);
  Effects effects(results);
  if (!options.draws) kept = over_draws(kept, effects);
  std::vector<Json> beside = beside_axes(kept, has_others);
  for (std::size_t i = 0; i < kept.size() && has_others; ++i) beside[i]["planned"] = is_planned(kept[i], options);
  const std::vector<Json> rows = for_tables(kept, beside);
  if (!options.interaction.empty()) return show_interaction(effects, rows, options.interaction, options.format);
  const Baselines baselines = find_baselines(rows, options.baseline);
  const Differences differences(effects, rows, baselines);
  if (options.format == "json" || options.format == "csv") {
    if (!note.empty()) spdlog::info("{}", note);
    return options.format == "csv" ? csv_text(rows, differences) : json_text(effects, kept, rows, beside, differences);
  }
  std::string text = grids(rows, differences, options);
  if (text.empty()) text = flat_table(rows, differences).render(options.format);
  return text + "\n" + caption(rows, difference_note(differences, options.baseline)) +
         (note.empty() ? "" : note + "\n") + show_controls(effects, rows, options.format);
}

}  // namespace qroar
