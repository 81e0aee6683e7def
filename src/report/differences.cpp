#include "report/differences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/table.h"

namespace qroar {
namespace {

/// Returns the number with all its digits, for other programs; empty where there is none.
std::string exact_cell(double number) {
  return std::isnan(number) ? "" : std::isinf(number) ? (number > 0 ? "inf" : "-inf") : Json(number).dump();
}

/// Returns the row's metrics that are means over clusters.
std::vector<std::string> means_of(const Json& row) {
  std::vector<std::string> names;
  for (const auto& [name, metric] : row["metrics"].items()) {
    if (metric.contains("clusters") && !metric.contains("link")) names.push_back(name);
  }
  return names;
}

}  // namespace

Json effect_json(const Effect& effect, const char* value_key) {
  const Estimate& of = *effect.value;
  return {{value_key, of.value},         {"stderr", of.standard_error},   {"low", of.low()},
          {"high", of.high()},           {"detectable", of.detectable()}, {"p_value", of.p_value()},
          {"survives", effect.survives}, {"clusters", of.clusters},       {"draws", of.draws}};
}

std::vector<std::string> effect_csv(const Effect& effect) {
  const Estimate& of = *effect.value;
  std::vector<std::string> cells;
  for (const double number : {of.value, of.low(), of.high(), of.standard_error, of.detectable(), of.p_value()}) {
    cells.push_back(exact_cell(number));
  }
  cells.insert(cells.end(), {effect.survives ? "1" : "0", std::to_string(of.clusters), std::to_string(of.draws)});
  return cells;
}

Differences::Differences(Effects& effects, const std::vector<Json>& rows, const Baselines& baselines)
    : rows_(rows), baselines_(baselines) {
  std::vector<Effect*> compared;
  for (std::size_t row = 0; row < baselines_.size(); ++row) {
    for (const std::string& metric : means_of(rows_[row])) {
      if (std::ranges::find(metrics_, metric) == metrics_.end()) metrics_.push_back(metric);
      if (!obstacle(row).empty()) continue;
      effects_[{row, metric}] = effects.of({{1, &rows_[row]}, {-1, baselines_[row]}}, metric);
      compared.push_back(&effects_[{row, metric}]);
    }
  }
  count_ = mark_survivors(compared);
}

std::string Differences::obstacle(std::size_t row) const {
  const Json* baseline = baselines_[row];
  if (!is_ok(rows_[row])) return "failed";
  if (baseline == nullptr || !is_ok(*baseline)) return "no baseline";
  return rows_[row]["id"] == (*baseline)["id"] ? "baseline" : "";
}

const Effect* Differences::find(std::size_t row, const std::string& metric) const {
  const auto found = effects_.find({row, metric});
  return found == effects_.end() ? nullptr : &found->second;
}

std::vector<std::string> Differences::header(const std::string& metric) const {
  std::vector<std::string> header{"Δ" + metric, "detectable"};
  if (metric == "nll") header.emplace_back("ppl ratio");
  return header;
}

std::vector<std::string> Differences::cells(std::size_t row, const std::string& metric) const {
  const Effect* effect = find(row, metric);
  const bool has_ratio = metric == "nll";
  if (effect == nullptr || !effect->value) {
    const std::string reason = effect != nullptr ? effect->reason : obstacle(row);
    std::vector<std::string> cells{reason == "failed" ? "" : reason, ""};
    if (has_ratio) cells.emplace_back(reason == "baseline" ? "1" : "");
    return cells;
  }
  const Estimate& value = *effect->value;
  std::vector<std::string> cells{effect_text(value, effect->survives),
                                 std::isnan(value.detectable()) ? "" : fmt::format("{:.4f}", value.detectable())};
  if (has_ratio) cells.push_back(with_interval(std::exp(value.value), std::exp(value.low()), std::exp(value.high())));
  return cells;
}

Json Differences::json(std::size_t row) const {
  const Json* baseline = baselines_[row];
  Json found{{"baseline", baseline == nullptr ? Json() : (*baseline)["id"]}};
  if (const std::string why = obstacle(row); !why.empty()) {
    found["reason"] = why;
    return found;
  }
  for (const std::string& metric : metrics_) {
    const Effect* effect = find(row, metric);
    if (effect == nullptr) continue;
    if (!effect->value) {
      found["reason"] = effect->reason;
      continue;
    }
    const Estimate& value = *effect->value;
    Json& place = metric == "nll" ? found["nll"] : found["tasks"][metric];
    place = effect_json(*effect, "difference");
    if (metric == "nll") {
      found["perplexity_ratio"] = {
          {"value", std::exp(value.value)}, {"low", std::exp(value.low())}, {"high", std::exp(value.high())}};
    }
  }
  if (found.size() == 1) found["reason"] = "nothing to compare";
  return found;
}

std::vector<std::string> Differences::csv_header() const {
  std::vector<std::string> header{"baseline", "reason"};
  for (const std::string& metric : metrics_) {
    for (const std::string& column : kEffectColumns) header.push_back("Δ" + metric + column);
    if (metric == "nll") header.insert(header.end(), {"ppl ratio", "ppl ratio_low", "ppl ratio_high"});
  }
  return header;
}

std::vector<std::string> Differences::csv_cells(std::size_t row) const {
  std::string reason = obstacle(row);
  std::vector<std::string> numbers;
  for (const std::string& metric : metrics_) {
    const std::size_t columns = kEffectColumns.size() + (metric == "nll" ? 3 : 0);
    const Effect* effect = find(row, metric);
    if (effect == nullptr || !effect->value) {
      if (effect != nullptr && reason.empty()) reason = effect->reason;
      numbers.insert(numbers.end(), columns, "");
      continue;
    }
    const Estimate& value = *effect->value;
    for (auto& cell : effect_csv(*effect)) numbers.push_back(std::move(cell));
    if (metric != "nll") continue;
    for (const double end : {value.value, value.low(), value.high()}) numbers.push_back(exact_cell(std::exp(end)));
  }
  std::vector<std::string> cells{baselines_[row] == nullptr ? "" : (*baselines_[row])["id"].get<std::string>(), reason};
  cells.insert(cells.end(), numbers.begin(), numbers.end());
  return cells;
}

}  // namespace qroar
