#include "report/show_programs.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "report/pgfplots.h"
#include "report/row_axes.h"
#include "report/row_tables.h"
#include "report/show_controls.h"
#include "report/table.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns a key as part of a JSON pointer: the metrics of tasks have a slash in their names.
std::string escaped(const std::string& key) {
  std::string part;
  for (const char c : key) part += c == '/' ? "~1" : c == '~' ? "~0" : std::string(1, c);
  return part;
}

/// Returns {"nll_by_position/BEGIN-END": value and interval} of a row, over its draws; null without that metric.
Json curve_of(Effects& effects, const Json& row) {
  Json curve;
  const Json& metrics = value_at(row, "/config/metrics");
  const bool is_measured = std::ranges::any_of(
      metrics, [](const Json& one) { return one == "nll_by_position" || value_at(one, "/type") == "nll_by_position"; });
  if (!is_measured || !is_ok(row)) return curve;
  for (const std::string& metric : effects.metrics(row)) {
    if (!metric.starts_with("nll_by_position/")) continue;
    const Effect effect = effects.of({{1, &row}}, metric);
    if (!effect.value) continue;
    const Estimate& of = *effect.value;
    curve[metric] = {
        {"value", of.value}, {"low", of.low()}, {"high", of.high()}, {"clusters", of.clusters}, {"draws", of.draws}};
  }
  return curve;
}

}  // namespace

std::string csv_text(const std::vector<Json>& rows, const Differences& differences) {
  const std::vector<std::string> names = axis_names(rows);
  std::set<std::string> found;
  for (const Json& row : rows) {
    for (const auto& [name, metric] : row["metrics"].items()) found.insert(name);
  }
  const std::vector<std::string> metrics(found.begin(), found.end());
  Table table{{"id", "experiment", "status"}, {}, 1};
  for (const auto& name : names) table.header.push_back(name);
  for (const auto& name : metrics) {
    for (const char* field : {"", "_stderr", "_count", "_low", "_high", "_clusters"})
      table.header.push_back(name + field);
  }
  table.header.emplace_back("draws");
  const std::vector<std::string> costs{"bits_per_weight",
                                       "bits_per_cached_value",
                                       "seconds",
                                       "tokens_per_second",
                                       "model_tflops_per_second",
                                       "peak_bytes",
                                       "error"};
  table.header.insert(table.header.end(), costs.begin(), costs.end());
  if (!differences.empty()) {
    for (auto& name : differences.csv_header()) table.header.push_back(std::move(name));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    std::vector<std::string> cells;
    const auto put = [&](const Json& value) {
      const bool is_infinite = value.is_number_float() && std::isinf(value.get<double>());
      cells.push_back(value.is_null()     ? ""
                      : is_infinite       ? "inf"
                      : value.is_string() ? value.get<std::string>()
                                          : value.dump());
    };
    for (const char* place : {"/id", "/experiment", "/status"}) put(value_at(row, place));
    for (const auto& name : names) cells.push_back(axis_cell(row, name));
    for (const auto& name : metrics) {
      const Json metric = row["metrics"].value(name, Json::object());
      for (const char* place : {"/value", "/stderr", "/count", "/low", "/high", "/clusters"})
        put(value_at(metric, place));
    }
    cells.push_back(std::to_string(draws_of(row).size()));
    for (const auto& cost : costs) put(value_at(row, "/" + cost));
    if (!differences.empty()) {
      for (auto& cell : differences.csv_cells(i)) cells.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(cells));
  }
  return table.render("csv");
}

std::string pgfplots_text(const std::vector<Json>& rows, const Differences& differences) {
  const std::string x = x_axis_of(rows);
  const bool with_names = need_names(rows, x);
  const std::vector<std::string> metrics = differences.empty() ? shown_metrics(rows) : differences.metrics();
  std::vector<FigurePoint> points;
  for (const std::string& metric : metrics) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Json paired = differences.empty() ? Json() : differences.json(i);
      const Json& entry = differences.empty() ? value_at(rows[i]["metrics"], "/" + escaped(metric))
                          : metric == "nll"   ? value_at(paired, "/nll")
                                              : value_at(paired, "/tasks/" + escaped(metric));
      const auto number = [&](const char* place) {
        const Json& value = value_at(entry, place);
        return value.is_number() ? value.get<double>() : std::nan("");
      };
      if (entry.is_null()) continue;
      points.push_back({place_of(rows[i], x, i),
                        (differences.empty() ? "" : "Δ") + metric + ", " + line_of(rows[i], x, with_names),
                        number(differences.empty() ? "/value" : "/difference"), number("/low"), number("/high")});
    }
  }
  return pgfplots_text(x, points);
}

std::string json_text(Effects& effects, std::vector<Json> rows, const std::vector<Json>& shown,
                      const std::vector<Json>& beside, const Differences& differences) {
  const ControlComparisons searched = compare_controls(effects, shown);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Json& row = rows[i];
    row["labels"] = row["texts"] = Json::object();
    for (const auto& [axis, value] : shown[i]["axes"].items()) row["labels"][axis] = axis_label(value);
    for (const auto& [metric, value] : shown[i]["metrics"].items())
      row["texts"][metric] = metric_text(shown[i], metric);
    if (!beside[i].empty()) row["differs"] = beside[i];
    if (Json curve = curve_of(effects, shown[i]); !curve.is_null()) row["curve"] = std::move(curve);
    if (!differences.empty()) row["paired"] = differences.json(i);
    const auto own = searched.of.find(row["id"]);
    if (own == searched.of.end()) continue;
    for (const auto& [name, effect] : own->second) {
      row["searched"][name] = effect.value ? effect_json(effect, "difference") : Json{{"reason", effect.reason}};
    }
  }
  return Json(rows).dump(1) + "\n";
}

}  // namespace qroar
