#include "harness/show.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "harness/differences.h"
#include "harness/row_axes.h"
#include "harness/table.h"

namespace qroar {
namespace {

const std::string kLength = "windows.length";

double number_of(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

/// A metric's value; JSON has no infinity (harness/results.h).
double value_of(const Json& metric) { return metric["value"].is_null() ? HUGE_VAL : number_of(metric["value"]); }

/// What tables show: perplexity without the mean NLL, and all else but percentiles.
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

std::string metric_cell(const Json& row, const std::string& name) {
  if (!is_ok(row)) return "failed";
  if (!row["metrics"].contains(name)) return "";
  const Json& metric = row["metrics"][name];
  return with_error(value_of(metric), number_of(metric["stderr"]));
}

/// The values of an axis that runs across: lengths by size, others as they appear.
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

/// Rows by all axes but the one that runs across, in order of appearance; empty when two rows fall on one place or the
/// axis has one value.
Table grid_table(const std::vector<Json>& rows, const std::string& across, const std::vector<std::string>& texts) {
  const std::vector<std::string> columns = columns_of(rows, across);
  std::vector<std::string> names = axis_names(rows);
  std::erase(names, across);
  std::vector<std::vector<std::string>> keys;
  std::map<std::pair<std::vector<std::string>, std::string>, std::string> cells;
  for (std::size_t i = 0; i < rows.size() && columns.size() > 1; ++i) {
    std::vector<std::string> key;
    for (const auto& name : names) key.push_back(axis_cell(rows[i], name));
    if (!cells.emplace(std::pair(key, axis_cell(rows[i], across)), texts[i]).second) return {};
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  if (keys.empty()) return {};
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

/// With the lengths across, or else the texts.
Table grid_table(const std::vector<Json>& rows, const std::vector<std::string>& texts) {
  Table table = grid_table(rows, kLength, texts);
  return table.rows.empty() ? grid_table(rows, "data", texts) : table;
}

Table flat_table(const std::vector<Json>& rows, Differences& differences) {
  const std::vector<std::string> names = axis_names(rows);
  Table table{{"id"}, {}, names.size() + 1};
  table.header.insert(table.header.end(), names.begin(), names.end());
  const std::vector<std::string> metrics = metrics_of(rows);
  table.header.insert(table.header.end(), metrics.begin(), metrics.end());
  for (const char* column : {"scored", "seconds", "tokens/s", "TFLOP/s", "peak MB"}) table.header.emplace_back(column);
  const bool text_is_paired = !differences.empty() && std::ranges::any_of(rows, has_text);
  std::vector<std::string> paired;  // metrics of tasks
  if (text_is_paired)
    table.header.insert(table.header.end(), Differences::kTextHeader.begin(), Differences::kTextHeader.end());
  for (const auto& metric : metrics) {
    if (!differences.empty() && differences.is_over_questions(metric)) paired.push_back(metric);
  }
  for (const auto& metric : paired) table.header.push_back("Δ" + metric);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    std::vector<std::string> cells{row["id"].get<std::string>()};
    for (const auto& name : names) cells.push_back(axis_cell(row, name));
    for (const auto& metric : metrics) cells.push_back(metric_cell(row, metric));
    cells.push_back(row["metrics"].empty() ? "" : row["metrics"].begin().value()["count"].dump());
    cells.push_back(fmt::format("{:.2f}", number_of(row["seconds"])));
    const auto rate = [&](const char* key, const char* format) {
      return row[key].is_null() ? "" : fmt::format(fmt::runtime(format), row[key].get<double>());
    };
    cells.push_back(rate("tokens_per_second", "{:.0f}"));
    cells.push_back(rate("model_tflops_per_second", "{:.3f}"));
    cells.push_back(fmt::format("{:.0f}", number_of(row["peak_bytes"]) / 1e6));
    if (text_is_paired) {
      for (auto& cell : differences.of_text(i)) cells.push_back(std::move(cell));
    }
    for (const auto& metric : paired) cells.push_back(differences.of_task(i, metric));
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
      const bool infinite = metric.contains("value") && std::isinf(value_of(metric));
      cells.push_back(infinite ? "inf" : text(metric.value("value", Json())));
      for (const char* field : {"stderr", "count"}) cells.push_back(text(metric.value(field, Json())));
    }
    for (const auto& cost : costs) cells.push_back(text(row[cost]));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// How the windows were made: "protocol yarn, bos true, stride 256".
std::string protocol_of(const auto& common) {
  const std::string name = common("windows", "protocol");
  std::string text = name.empty() ? "" : fmt::format("protocol {}, ", name);
  text += fmt::format(
      "bos {}, {}", common("windows", "bos"),
      common("windows", "truncate") == "true" ? "one window a document" : "stride " + common("windows", "stride"));
  for (const auto& [key, usual] :
       {std::pair("concatenate", "false"), {"targets", "inside"}, {"score", "all"}, {"tail", "keep"}}) {
    if (common("windows", key) != usual) text += fmt::format(", {} {}", key, common("windows", key));
  }
  return text;
}

/// What the differences are.
std::string difference_note(const Json& row, const std::string& baseline, bool in_brackets) {
  const bool is_text = has_text(row);
  std::string note = fmt::format("; {}Δ{} against {} over the same {}, with its paired standard error",
                                 in_brackets ? "in brackets " : "", is_text ? "nll" : "", baseline,
                                 is_text ? "windows (of tasks: questions)" : "questions");
  if (is_text && !in_brackets) note += "; 95 % over documents: paired bootstrap of documents, 10,000 draws";
  return note;
}

/// What the numbers are, under the table.
std::string caption(const std::vector<Json>& rows, const std::string& paired) {
  const Json& config = rows.front()["config"];
  const bool is_text = has_text(rows.front());
  std::string text = "no metric has a value" + paired;
  if (!metrics_of(rows).empty())
    text = fmt::format("{} ± standard error ({} taken as independent){}", is_text ? "perplexity" : "value",
                       is_text ? config["windows"]["aggregate"].get<std::string>() : "questions", paired);
  const auto common = [&](const char* block, const char* key) {
    const Json::json_pointer place(fmt::format("/{}/{}", block, key));
    const auto value_of = [&](const Json& of) { return of.contains(place) ? of[place] : Json(""); };
    const Json value = value_of(config);
    return std::ranges::all_of(rows, [&](const Json& row) { return value_of(row["config"]) == value; })
               ? axis_label(value)
               : "swept";
  };
  text += fmt::format("; model {}, {}", common("model", "path"), common("model", "dtype"));
  if (is_text) {
    const std::string documents = common("data", "documents");
    text += fmt::format("; data {}, documents {}; {}", common("data", "path"), documents == "0" ? "all" : documents,
                        protocol_of(common));
  }
  text += "\n";
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
  Differences differences(results, rows, baselines);
  if (options.format == "json") return Json(rows).dump(1) + "\n";
  if (options.format == "csv" && baselines.empty()) return csv_table(rows).render("csv");
  const bool own_baselines = options.baseline.find('=') != std::string::npos;
  std::string text;
  const std::vector<std::string> metrics = metrics_of(rows);
  for (const auto& metric : metrics) {
    if (!baselines.empty() && !own_baselines) break;
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      texts.push_back(metric_cell(rows[i], metric));
      if (!own_baselines) continue;
      const std::string difference =
          metric == "perplexity" ? differences.of_text(i).front() : differences.of_task(i, metric);
      if (!difference.empty()) texts.back() += " (" + difference + ")";
    }
    const Table grid = grid_table(rows, texts);
    if (grid.rows.empty()) break;
    if (metrics.size() > 1) text += (text.empty() ? "" : "\n") + metric + "\n";
    text += grid.render(options.format);
  }
  const bool in_grid = !text.empty();
  if (!in_grid) text = flat_table(rows, differences).render(options.format);
  if (options.format == "csv") return text;
  return text + "\n" +
         caption(rows, baselines.empty() ? "" : difference_note(rows.front(), options.baseline, in_grid)) +
         show_controls(results, rows, options.format);
}

}  // namespace qroar
