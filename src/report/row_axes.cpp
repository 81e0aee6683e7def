#include "report/row_axes.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "report/table.h"
#include "results/results.h"
#include "results/row_shape.h"

namespace qroar {

bool is_ok(const Json& row) { return row["status"] == "ok"; }

bool has_text(const Json& row) { return row["config"].contains("data"); }

std::vector<std::string> axis_names(const std::vector<Json>& rows) {
  std::vector<std::string> names;
  for (const Json& row : rows) {
    for (const auto& [name, value] : row["axes"].items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string json_pointer_of(const std::string& path) {
  std::string place = path.empty() ? "" : "/";
  for (const char c : path) {
    if (c == '~' || c == '/')
      place += c == '~' ? "~0" : "~1";
    else if (c != ']')
      place += c == '.' || c == '[' ? '/' : c;
  }
  return place;
}

std::string axis_cell(const Json& row, const std::string& name) {
  return row["axes"].contains(name) ? axis_label(row["axes"][name]) : "";
}

namespace {

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

/// Returns, for each row, the row with the same configuration except for `axis`, where its label is `label`.
/// Calibration is ignored: rows that need none do not have it in their configuration.
Baselines find_by_axis(const std::vector<Json>& rows, const std::string& axis, const std::string& label) {
  const Json::json_pointer place(json_pointer_of(axis));
  const auto without_axis = [&](const Json& row) {
    Json config = row["config"];
    config.erase("calibration");
    if (config.contains(place)) config[place] = nullptr;
    return config;
  };
  std::vector<std::string> labels;
  std::vector<std::pair<Json, const Json*>> candidates;
  for (const Json& row : rows) {
    std::string own = axis_cell(row, axis);
    if (own.empty() && row["config"].contains(place)) own = axis_label(row["config"][place]);
    if (own == label) candidates.emplace_back(without_axis(row), &row);
    if (!own.empty() && std::find(labels.begin(), labels.end(), own) == labels.end()) labels.push_back(own);
  }
  if (candidates.empty()) {
    fail("--baseline {}={}: no row has that value; {}", axis, label,
         labels.empty() ? fmt::format("no axis '{}'; the axes are {}", axis, fmt::join(axis_names(rows), ", "))
                        : fmt::format("its values are {}", fmt::join(labels, " | ")));
  }
  Baselines found;
  for (const Json& row : rows) {
    const Json config = without_axis(row);
    const auto match = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const auto& candidate) { return candidate.first == config; });
    found.push_back(match == candidates.end() ? nullptr : match->second);
  }
  return found;
}

}  // namespace

Baselines find_baselines(const std::vector<Json>& rows, const std::string& baseline) {
  if (baseline.empty()) return {};
  const auto equals = baseline.find('=');
  if (equals == std::string::npos) return Baselines(rows.size(), &find_row(rows, baseline));
  return find_by_axis(rows, baseline.substr(0, equals), baseline.substr(equals + 1));
}

std::string metric_text(const Json& row, const std::string& metric) {
  if (!is_ok(row)) return "failed";
  if (!row["metrics"].contains(metric)) return "";
  const auto number = [&](const char* place) {
    const Json& value = value_at(row["metrics"][metric], place);
    return value.is_number() ? value.get<double>() : std::nan("");
  };
  return with_error(number("/value"), number("/stderr"));
}

}  // namespace qroar
