#include "harness/differences.h"

#include <algorithm>
#include <cmath>

#include "harness/table.h"

namespace qroar {

std::string Differences::obstacle(std::size_t row) const {
  const Json* baseline = baselines_[row];
  if (baseline == nullptr || !is_ok(*baseline)) return "no baseline";
  return rows_[row]["id"] == (*baseline)["id"] ? "baseline" : "";
}

const std::vector<WindowRecord>& Differences::windows(const Json& row) {
  const auto id = row["id"].get<std::string>();
  const auto [known, fresh] = windows_.try_emplace(id);
  if (fresh) known->second = read_windows(results_.cell(id) / "windows.csv");
  return known->second;
}

const Scores& Differences::scores(const Json& row, const std::string& metric) {
  const auto [known, fresh] = scores_.try_emplace({row["id"].get<std::string>(), metric});
  if (fresh) known->second = question_scores(results_, row, metric);
  return known->second;
}

std::vector<std::string> Differences::of_text(std::size_t row) {
  if (!is_ok(rows_[row]) || !has_text(rows_[row])) return {"", "", "", ""};
  const std::string why = obstacle(row);
  if (!why.empty()) return {why, "", why == "baseline" ? "1" : "", ""};
  const PairedDifference paired = paired_difference(windows(rows_[row]), windows(*baselines_[row]));
  if (paired.windows == 0) return {"other windows", "", "", ""};
  const double ratio = std::exp(paired.difference);
  return {with_error(paired.difference, paired.standard_error),
          std::isfinite(paired.low) ? fmt::format("{:+.4f} .. {:+.4f}", paired.low, paired.high) : "",
          with_error(ratio, ratio * paired.standard_error), std::to_string(paired.windows)};
}

bool Differences::is_over_questions(const std::string& metric) {
  return std::ranges::any_of(rows_, [&](const Json& row) { return !scores(row, metric).empty(); });
}

std::string Differences::of_task(std::size_t row, const std::string& metric) {
  if (!is_ok(rows_[row])) return "";
  const std::string why = obstacle(row);
  if (!why.empty()) return why;
  const Scores& own = scores(rows_[row], metric);
  if (own.empty()) return "";
  const PairedDifference paired = paired_difference(own, scores(*baselines_[row], metric));
  return paired.windows == 0 ? "other questions" : with_error(paired.difference, paired.standard_error);
}

}  // namespace qroar
