#include "report/differences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/table.h"

namespace qroar {
namespace {

/// Returns the number with all its digits; empty where there is none.
std::string csv_cell(double number) {
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

Json effect_json(const Estimate& effect, bool survives, const char* value_key) {
  return {{value_key, effect.value}, {"stderr", effect.standard_error},   {"low", effect.low()},
          {"high", effect.high()},   {"detectable", effect.detectable()}, {"p_value", effect.p_value()},
          {"survives", survives},    {"clusters", effect.clusters},       {"draws", effect.draws}};
}

std::vector<std::string> effect_csv(const Estimate& effect, bool survives) {
  std::vector<std::string> cells;
  for (const double number :
       {effect.value, effect.low(), effect.high(), effect.standard_error, effect.detectable(), effect.p_value()}) {
    cells.push_back(csv_cell(number));
  }
  cells.insert(cells.end(), {survives ? "1" : "0", std::to_string(effect.clusters), std::to_string(effect.draws)});
  return cells;
}

Differences::Differences(Effects& effects, const std::vector<Json>& rows, const Baselines& baselines)
    : rows_(rows), baselines_(baselines) {
  std::vector<double> p_values;
  for (std::size_t row = 0; row < baselines_.size(); ++row) {
    for (const std::string& metric : means_of(rows_[row])) {
      if (std::ranges::find(metrics_, metric) == metrics_.end()) metrics_.push_back(metric);
      if (!obstacle(row).empty()) continue;
      const Effect& effect = effects_[{row, metric}] = effects.of({{1, &rows_[row]}, {-1, baselines_[row]}}, metric);
      p_values.push_back(effect.value ? effect.value->p_value() : std::nan(""));
    }
  }
  const std::vector<bool> survives = survives_false_discovery(p_values);
  std::size_t next = 0;
  for (std::size_t row = 0; row < baselines_.size(); ++row) {
    if (!obstacle(row).empty()) continue;
    for (const std::string& metric : means_of(rows_[row])) survives_[{row, metric}] = survives[next++];
  }
}

std::string Differences::count_text() const {
  const auto with_interval = std::ranges::count_if(
      effects_, [](const auto& entry) { return entry.second.value && entry.second.value->has_interval(); });
  const auto kept = std::ranges::count_if(survives_, [](const auto& entry) { return entry.second; });
  return fmt::format("{} of {} comparisons survive Benjamini-Hochberg at 5 % (*)", kept, with_interval);
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

bool Differences::survives(std::size_t row, const std::string& metric) const {
  const auto found = survives_.find({row, metric});
  return found != survives_.end() && found->second;
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
  std::vector<std::string> cells{effect_text(value, survives(row, metric)),
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
    place = effect_json(value, survives(row, metric), "difference");
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
    for (auto& cell : effect_csv(value, survives(row, metric))) numbers.push_back(std::move(cell));
    if (metric != "nll") continue;
    for (const double end : {value.value, value.low(), value.high()}) numbers.push_back(csv_cell(std::exp(end)));
  }
  std::vector<std::string> cells{baselines_[row] == nullptr ? "" : (*baselines_[row])["id"].get<std::string>(), reason};
  cells.insert(cells.end(), numbers.begin(), numbers.end());
  return cells;
}

}  // namespace qroar
