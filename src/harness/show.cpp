#include "harness/show.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "harness/table.h"

namespace qroar {
namespace {

const std::string kLength = "windows.length";

/// Two significant digits of the error, and two decimals at least: 35.2913 ± 0.0051 -> "35.2913 ± 0.0051".
std::string with_error(double value, double error) {
  if (!std::isfinite(error) || error <= 0) return fmt::format("{:.5g}", value);
  const int digits = std::clamp(1 - static_cast<int>(std::floor(std::log10(error))), 2, 12);
  return fmt::format("{:.{}f} ± {:.{}f}", value, digits, error, digits);
}

bool is_ok(const Json& row) { return row["status"] == "ok"; }

double number_of(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

std::string metric_cell(const Json& row, const std::string& name) {
  if (!is_ok(row)) return "failed";
  const Json& metric = row["metrics"][name];
  return with_error(number_of(metric["value"]), number_of(metric["stderr"]));
}

std::vector<std::string> axis_names(const std::vector<Json>& rows) {
  std::vector<std::string> names;
  for (const Json& row : rows) {
    for (const auto& [name, value] : row["axes"].items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string axis_cell(const Json& row, const std::string& name) {
  return row["axes"].contains(name) ? axis_label(row["axes"][name]) : "";
}

/// Rows by all axes but the length, in order of appearance, and by length; empty when two rows fall on one place or
/// there is one length.
Table grid_table(const std::vector<Json>& rows) {
  std::vector<std::string> names = axis_names(rows);
  std::erase(names, kLength);
  std::set<int64_t> lengths;
  std::vector<std::vector<std::string>> keys;
  std::map<std::pair<std::vector<std::string>, int64_t>, std::string> cells;
  for (const Json& row : rows) {
    if (!row["axes"].contains(kLength)) return {};
    const auto length = row["axes"][kLength].get<int64_t>();
    std::vector<std::string> key;
    for (const auto& name : names) key.push_back(axis_cell(row, name));
    if (!cells.emplace(std::pair(key, length), metric_cell(row, "perplexity")).second) return {};
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    lengths.insert(length);
  }
  if (lengths.size() < 2) return {};
  Table table{names, {}, names.size()};
  for (const int64_t length : lengths) table.header.push_back(std::to_string(length));
  for (const auto& key : keys) {
    table.rows.push_back(key);
    for (const int64_t length : lengths) {
      const auto cell = cells.find({key, length});
      table.rows.back().push_back(cell == cells.end() ? "" : cell->second);
    }
  }
  return table;
}

/// The difference's cells: nats, and the ratio of perplexities exp(difference) with its error.
std::vector<std::string> paired_cells(const Results& results, const Json& row, const Json* baseline) {
  if (!is_ok(row)) return {"", "", ""};
  if (baseline == nullptr || !is_ok(*baseline)) return {"no baseline", "", ""};
  if (row["id"] == (*baseline)["id"]) return {"baseline", "1", ""};
  const auto windows_of_row = [&](const Json& r) {
    return read_windows(results.cell(r["id"].get<std::string>()) / "windows.csv");
  };
  const PairedDifference paired = paired_difference(windows_of_row(row), windows_of_row(*baseline));
  if (paired.windows == 0) return {"other windows", "", ""};
  const double ratio = std::exp(paired.difference);
  return {with_error(paired.difference, paired.standard_error), with_error(ratio, ratio * paired.standard_error),
          std::to_string(paired.windows)};
}

/// Of each row the row it is compared with, null where there is none; empty without a baseline.
using Baselines = std::vector<const Json*>;

Table flat_table(const Results& results, const std::vector<Json>& rows, const Baselines& baselines) {
  const std::vector<std::string> names = axis_names(rows);
  Table table{{"id"}, {}, names.size() + 1};
  table.header.insert(table.header.end(), names.begin(), names.end());
  for (const char* column : {"perplexity", "scored", "seconds", "tokens/s", "TFLOP/s", "peak MB"})
    table.header.emplace_back(column);
  if (!baselines.empty()) {
    for (const char* column : {"Δnll", "ppl ratio", "paired windows"}) table.header.emplace_back(column);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    std::vector<std::string> cells{row["id"].get<std::string>()};
    for (const auto& name : names) cells.push_back(axis_cell(row, name));
    cells.push_back(metric_cell(row, "perplexity"));
    cells.push_back(is_ok(row) ? row["metrics"]["nll"]["count"].dump() : "");
    cells.push_back(fmt::format("{:.2f}", number_of(row["seconds"])));
    cells.push_back(fmt::format("{:.0f}", number_of(row["tokens_per_second"])));
    cells.push_back(fmt::format("{:.3f}", number_of(row["model_tflops_per_second"])));
    cells.push_back(fmt::format("{:.0f}", number_of(row["peak_bytes"]) / 1e6));
    if (!baselines.empty()) {
      for (auto& cell : paired_cells(results, row, baselines[i])) cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// Every number in full, for programs: one column per axis, metric field and cost.
Table csv_table(const std::vector<Json>& rows) {
  const std::vector<std::string> names = axis_names(rows);
  std::set<std::string> metrics;
  for (const Json& row : rows) {
    for (const auto& [name, metric] : row["metrics"].items()) metrics.insert(name);
  }
  Table table{{"id", "experiment", "status"}, {}, 1};
  for (const auto& name : names) table.header.push_back(name);
  for (const auto& name : metrics) {
    for (const char* field : {"", "_stderr", "_count"}) table.header.push_back(name + field);
  }
  const std::vector<std::string> costs{"seconds", "tokens_per_second", "model_tflops_per_second", "peak_bytes",
                                       "error"};
  table.header.insert(table.header.end(), costs.begin(), costs.end());
  const auto text = [](const Json& value) {
    return value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump();
  };
  for (const Json& row : rows) {
    std::vector<std::string> cells{text(row["id"]), text(row["experiment"]), text(row["status"])};
    for (const auto& name : names) cells.push_back(axis_cell(row, name));
    for (const auto& name : metrics) {
      const Json metric = row["metrics"].contains(name) ? row["metrics"][name] : Json::object();
      for (const char* field : {"value", "stderr", "count"})
        cells.push_back(metric.contains(field) ? text(metric[field]) : "");
    }
    for (const auto& cost : costs) cells.push_back(text(row[cost]));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

const Json& find_row(const std::vector<Json>& rows, const std::string& id) {
  std::vector<const Json*> found;
  for (const Json& row : rows) {
    if (row["id"].get<std::string>().starts_with(id)) found.push_back(&row);
  }
  if (found.size() != 1)
    fail("--baseline {}: {} rows have an id that begins so; `show` with --format csv lists the ids", id, found.size());
  if (!is_ok(*found.front())) fail("--baseline {}: that cell failed", id);
  return *found.front();
}

/// Of each row the row whose axes are the same but for `axis`, which has that label there.
Baselines find_by_axis(const std::vector<Json>& rows, const std::string& axis, const std::string& label) {
  const auto without_axis = [&](const Json& row) {
    Json axes = row["axes"];
    axes.erase(axis);
    return axes;
  };
  std::vector<const Json*> candidates;
  std::vector<std::string> labels;
  for (const Json& row : rows) {
    const std::string own = axis_cell(row, axis);
    if (own == label) candidates.push_back(&row);
    if (!own.empty() && std::find(labels.begin(), labels.end(), own) == labels.end()) labels.push_back(own);
  }
  if (labels.empty()) {
    fail("--baseline {}={}: no axis '{}'; the axes are {}", axis, label, axis, fmt::join(axis_names(rows), ", "));
  }
  if (candidates.empty()) {
    fail("--baseline {}={}: no row has that value; its values are {}", axis, label, fmt::join(labels, " | "));
  }
  Baselines found;
  for (const Json& row : rows) {
    const auto match = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const Json* other) { return without_axis(*other) == without_axis(row); });
    found.push_back(match == candidates.end() ? nullptr : *match);
  }
  return found;
}

Baselines find_baselines(const std::vector<Json>& rows, const std::string& baseline) {
  if (baseline.empty()) return {};
  const auto equals = baseline.find('=');
  if (equals == std::string::npos) return Baselines(rows.size(), &find_row(rows, baseline));
  return find_by_axis(rows, baseline.substr(0, equals), baseline.substr(equals + 1));
}

/// What the numbers are, under the table.
std::string caption(const std::vector<Json>& rows) {
  const Json& config = rows.front()["config"];
  std::string text = fmt::format("perplexity ± standard error ({} taken as independent)",
                                 config["windows"]["aggregate"].get<std::string>());
  const auto common = [&](const char* block, const char* key) {
    const Json& value = config[block][key];
    return std::all_of(rows.begin(), rows.end(), [&](const Json& row) { return row["config"][block][key] == value; })
               ? axis_label(value)
               : "swept";
  };
  text += fmt::format(
      "; model {}, {}; data {}, documents {}; bos {}, {}\n", common("model", "path"), common("model", "dtype"),
      common("data", "path"), common("data", "documents") == "0" ? "all" : common("data", "documents"),
      common("windows", "bos"),
      common("windows", "truncate") == "true" ? "one window a document" : "stride " + common("windows", "stride"));
  for (const Json& row : rows) {
    if (!is_ok(row))
      text += fmt::format("failed {}: {}\n", row["id"].get<std::string>(), row["error"].get<std::string>());
  }
  return text;
}

}  // namespace

std::string show(const Results& results, const std::vector<Json>& rows, const ShowOptions& options) {
  if (rows.empty()) fail("{}: no finished cells yet", results.folder().string());
  const Baselines baselines = find_baselines(rows, options.baseline);
  if (options.format == "json") return Json(rows).dump(1) + "\n";
  if (options.format == "csv" && baselines.empty()) return csv_table(rows).render("csv");
  Table table = baselines.empty() ? grid_table(rows) : Table{};
  if (table.rows.empty()) table = flat_table(results, rows, baselines);
  const std::string text = table.render(options.format);
  return options.format == "csv" ? text : text + "\n" + caption(rows);
}

}  // namespace qroar
