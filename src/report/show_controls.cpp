#include "report/show_controls.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "report/table.h"
#include "results/control_names.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

constexpr const char *kFoundGain = "quantized, found g", *kFullPrecisionGain = "full precision, same g",
                     *kGainBeyond = "gain beyond full precision", *kTemperatureGain = "quantized, one temperature",
                     *kGainBeyondTemperature = "gain beyond one temperature", *kRandomGain = "quantized, random g";

using RowsById = std::unordered_map<std::string, const Json*>;

const Json* row_of(const RowsById& rows, const std::string& id) {
  const auto found = rows.find(id);
  return found == rows.end() ? nullptr : found->second;
}

/// Returns "-0.0123 [-0.0150, -0.0096]* detectable 0.0040"; of equal rows, and without an interval, nothing is
/// detectable.
std::string text_of(const Effect& effect) {
  if (!effect.value) return effect.reason;
  const std::string text = effect_text(*effect.value, effect.survives);
  const double detectable = effect.value->detectable();
  return std::isnan(detectable) ? text : fmt::format("{} detectable {:.4f}", text, detectable);
}

/// Returns what the row's searches found: its own, or one of each rounding draw.
std::vector<const Json*> searches_of(const Json& row) {
  std::vector<const Json*> found;
  const auto add = [&](const Json& of) {
    const Json& search = value_at(of, "/search");
    if (!search.is_null()) found.push_back(&search);
  };
  add(row);
  for (const Json& draw : value_at(row, "/draws")) add(draw);
  return found;
}

std::string dev_gain_of(const std::vector<const Json*>& searches) {
  double sum = 0;
  for (const Json* search : searches) sum += (*search)["dev_gain"].get<double>();
  return fmt::format("{:+.4f}", 0 - sum / static_cast<double>(searches.size()));
}

std::string scales_of(const std::vector<const Json*>& searches) {
  const Json& scales = (*searches.front())["g"];
  if (std::ranges::any_of(searches, [&](const Json* other) { return (*other)["g"] != scales; })) return "by draw";
  std::string text;
  for (const Json& g : scales) text += fmt::format("{}{:.3g}", text.empty() ? "" : " ", g.get<double>());
  constexpr std::size_t kLongest = 60;
  return text.size() <= kLongest ? text : std::to_string(scales.size()) + " scales";
}

bool has_controls(const Json& row) { return !value_at(row, "/controls").is_null(); }

std::vector<ControlComparison> comparisons_of(Effects& effects, const RowsById& rows, const Json& row) {
  const Json& controls = row["controls"];
  // Of one rounding draw, the controls are its own, which may also be a part of rows over several.
  const auto row_at = [&](const std::string& id) {
    return draws_of(row).size() == 1 ? effects.cell(id) : row_of(rows, id);
  };
  const auto control = [&](const char* name) { return row_at(controls.value(name, "")); };
  const Json *unscaled = control(kUnscaled), *full = control(kFullPrecision),
             *full_scaled = control(kFullPrecisionScaled), *temperature = control(kOneTemperature);
  std::vector<ControlComparison> comparisons;
  const auto compare = [&](const char* name, const std::vector<Term>& terms) {
    comparisons.push_back({name, effects.of(terms, "nll")});
  };
  compare(kFoundGain, {{1, &row}, {-1, unscaled}});
  if (controls.contains(kFullPrecision)) {
    compare(kFullPrecisionGain, {{1, full_scaled}, {-1, full}});
    compare(kGainBeyond, {{1, &row}, {-1, unscaled}, {-1, full_scaled}, {1, full}});
  }
  if (controls.contains(kOneTemperature)) {
    compare(kTemperatureGain, {{1, temperature}, {-1, unscaled}});
    compare(kGainBeyondTemperature, {{1, &row}, {-1, temperature}});
  }
  std::vector<std::vector<Term>> directions;
  for (const auto& [name, id] : controls.items()) {
    if (name.starts_with(kRandomScales)) directions.push_back({{1, row_at(id)}, {-1, unscaled}});
  }
  comparisons.push_back({kRandomGain, effects.mean_of(directions, "nll")});
  return comparisons;
}

}  // namespace

ControlComparisons compare_controls(Effects& effects, const std::vector<Json>& rows) {
  RowsById by_id;
  for (const Json& row : rows) by_id.emplace(row["id"], &row);
  ControlComparisons all;
  std::vector<Effect*> compared;
  for (const Json& row : rows) {
    if (!has_controls(row)) continue;
    auto& own = all.of[row["id"]] = comparisons_of(effects, by_id, row);
    for (ControlComparison& comparison : own) compared.push_back(&comparison.effect);
  }
  all.count = mark_survivors(compared);
  return all;
}

Table controls_table(Effects& effects, const std::vector<Json>& rows) {
  std::vector<std::string> axes;
  for (const Json& row : rows) {
    if (!has_controls(row)) continue;
    for (const auto& [axis, value] : row["axes"].items()) {
      if (std::ranges::find(axes, axis) == axes.end()) axes.push_back(axis);
    }
  }
  const ControlComparisons comparisons = compare_controls(effects, rows);
  Table table{axes, {}, axes.size()};
  for (const char* column : {kFoundGain, kFullPrecisionGain, kGainBeyond, kTemperatureGain, kGainBeyondTemperature,
                             kRandomGain, "on dev", "g"}) {
    table.header.emplace_back(column);
  }
  for (const Json& row : rows) {
    if (!has_controls(row)) continue;
    std::vector<std::string> cells(table.header.size());
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (row["axes"].contains(axes[i])) cells[i] = axis_label(row["axes"][axes[i]]);
    }
    for (const ControlComparison& comparison : comparisons.of.at(row["id"])) {
      const auto column = std::ranges::find(table.header, comparison.name) - table.header.begin();
      cells[static_cast<std::size_t>(column)] = text_of(comparison.effect);
    }
    if (const auto searches = searches_of(row); !searches.empty()) {
      cells[cells.size() - 2] = dev_gain_of(searches);
      cells.back() = scales_of(searches);
    }
    table.rows.push_back(std::move(cells));
  }
  table.title = fmt::format(
      "searched scales and their controls: mean NLL less that of the same model with scales of 1, nats per token, "
      "with 95 % intervals; random g: over directions, too; {}",
      comparisons.count);
  return table;
}

}  // namespace qroar
