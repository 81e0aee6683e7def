#include "report/differences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/table.h"

namespace qroar {

namespace {

/// Returns whether the row has losses; rows whose texts only diagnostics used have none.
bool has_losses(const Json& row) { return has_text(row) && !row["metrics"].empty(); }

/// Returns exp(difference) and its standard error by the delta method.
std::pair<double, double> ratio_of(const PairedDifference& difference) {
  const double ratio = std::exp(difference.difference);
  return {ratio, ratio * difference.standard_error};
}

/// Returns the number with all its digits; empty where there is none.
std::string csv_cell(double number) {
  return std::isnan(number) ? "" : std::isinf(number) ? (number > 0 ? "inf" : "-inf") : Json(number).dump();
}

}  // namespace

bool Differences::has_text() const { return std::ranges::any_of(rows_, has_losses); }

std::string Differences::obstacle(std::size_t row) const {
  const Json* baseline = baselines_[row];
  if (!is_ok(rows_[row])) return "failed";
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

Comparison Differences::of_text(std::size_t row) {
  if (!qroar::has_text(rows_[row]) || (is_ok(rows_[row]) && !has_losses(rows_[row]))) return {};
  if (const std::string why = obstacle(row); !why.empty()) return {{}, why};
  const Json& baseline = *baselines_[row];
  const PairedDifference paired =
      has_losses(baseline) ? paired_difference(windows(rows_[row]), windows(baseline)) : PairedDifference();
  return paired.windows == 0 ? Comparison{{}, "other windows"} : Comparison{paired, ""};
}

bool Differences::is_over_questions(const std::string& metric) {
  return std::ranges::any_of(rows_, [&](const Json& row) { return !scores(row, metric).empty(); });
}

Comparison Differences::of_task(std::size_t row, const std::string& metric) {
  const Scores& own = scores(rows_[row], metric);
  if (own.empty()) return {};
  if (const std::string why = obstacle(row); !why.empty()) return {{}, why};
  const PairedDifference paired = paired_difference(own, scores(*baselines_[row], metric));
  return paired.windows == 0 ? Comparison{{}, "other questions"} : Comparison{paired, ""};
}

std::vector<std::string> Differences::text_cells(std::size_t row) {
  const auto [paired, reason] = of_text(row);
  if (!paired) return {reason == "failed" ? "" : reason, "", reason == "baseline" ? "1" : "", ""};
  const auto [ratio, ratio_error] = ratio_of(*paired);
  return {with_error(paired->difference, paired->standard_error),
          std::isfinite(paired->low) ? fmt::format("{:+.4f} .. {:+.4f}", paired->low, paired->high) : "",
          with_error(ratio, ratio_error), std::to_string(paired->windows)};
}

std::string Differences::task_cell(std::size_t row, const std::string& metric) {
  const auto [paired, reason] = of_task(row, metric);
  return paired ? with_error(paired->difference, paired->standard_error) : reason == "failed" ? "" : reason;
}

Json Differences::json(std::size_t row) {
  const Json* baseline = baselines_[row];
  Json found{{"baseline", baseline == nullptr ? Json() : (*baseline)["id"]}};
  if (const auto [paired, reason] = of_text(row); paired) {
    const auto [ratio, ratio_error] = ratio_of(*paired);
    found["nll"] = {{"difference", paired->difference},
                    {"stderr", paired->standard_error},
                    {"low", paired->low},
                    {"high", paired->high},
                    {"windows", paired->windows}};
    found["perplexity_ratio"] = {{"value", ratio}, {"stderr", ratio_error}};
  } else if (const std::string why = obstacle(row); !why.empty() || !reason.empty()) {
    found["reason"] = why.empty() ? reason : why;
  }
  bool is_compared = found.contains("nll");
  for (const auto& [metric, value] : rows_[row]["metrics"].items()) {
    const auto [paired, reason] = of_task(row, metric);
    is_compared = is_compared || paired;
    if (paired) {
      found["tasks"][metric] = {
          {"difference", paired->difference}, {"stderr", paired->standard_error}, {"questions", paired->windows}};
    } else if (reason == "other questions") {
      found["tasks"][metric] = {{"reason", reason}};
    }
  }
  if (!is_compared && !found.contains("reason"))
    found["reason"] = found.contains("tasks") ? "other questions" : "nothing to compare";
  return found;
}

std::vector<std::string> Differences::csv_header(const std::vector<std::string>& metrics) {
  std::vector<std::string> header{"baseline", "reason"};
  if (has_text()) {
    for (const char* name :
         {"Δnll", "Δnll_stderr", "Δnll_low", "Δnll_high", "ppl ratio", "ppl ratio_stderr", "paired windows"}) {
      header.emplace_back(name);
    }
  }
  for (const auto& metric : metrics) {
    if (!is_over_questions(metric)) continue;
    for (const char* field : {"", "_stderr", "_questions"}) header.push_back("Δ" + metric + field);
  }
  return header;
}

std::vector<std::string> Differences::csv_cells(std::size_t row, const std::vector<std::string>& metrics) {
  const Comparison text = of_text(row);
  const std::string why = obstacle(row);
  std::vector<std::string> cells{baselines_[row] == nullptr ? "" : (*baselines_[row])["id"].get<std::string>(),
                                 why.empty() ? text.reason : why};
  if (has_text() && text.value) {
    const auto [ratio, ratio_error] = ratio_of(*text.value);
    for (const double number :
         {text.value->difference, text.value->standard_error, text.value->low, text.value->high, ratio, ratio_error}) {
      cells.push_back(csv_cell(number));
    }
    cells.push_back(std::to_string(text.value->windows));
  } else if (has_text()) {
    cells.insert(cells.end(), 7, "");
  }
  for (const auto& metric : metrics) {
    if (!is_over_questions(metric)) continue;
    const auto [paired, reason] = of_task(row, metric);
    cells.push_back(paired ? csv_cell(paired->difference) : "");
    cells.push_back(paired ? csv_cell(paired->standard_error) : "");
    cells.push_back(paired ? std::to_string(paired->windows) : "");
  }
  return cells;
}

}  // namespace qroar
