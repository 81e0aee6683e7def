#include "report/show_controls.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "report/paired.h"
#include "report/table.h"
#include "results/control_names.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

constexpr const char *kFoundGain = "quantized, found g", *kFullPrecisionGain = "full precision, same g",
                     *kGainBeyond = "gain beyond full precision", *kRandomGain = "quantized, random g";

const Json* row_of(const std::vector<Json>& rows, const std::string& id) {
  const auto found = std::ranges::find_if(rows, [&](const Json& row) { return row["id"] == id; });
  return found == rows.end() ? nullptr : &*found;
}

/// The difference of a row and the row that it is compared with, window by window, or why there is none.
struct Pair {
  std::string reason;
  std::vector<WindowRecord> difference;
};

/// `row`, `baseline`: null for one that has not run.
Pair pair_of(const Results& results, const Json* row, const Json* baseline) {
  if (row == nullptr || baseline == nullptr) return {"not run", {}};
  if ((*row)["status"] != "ok" || (*baseline)["status"] != "ok") return {"failed", {}};
  const auto windows_of = [&](const Json& of) {
    return read_windows(results.cell(of["id"].get<std::string>()) / "windows.csv");
  };
  std::vector<WindowRecord> difference = windows_of(*row);
  const std::vector<WindowRecord> subtrahend = windows_of(*baseline);
  check(paired_difference(difference, subtrahend).windows > 0, "a control has its search's windows");
  for (std::size_t i = 0; i < subtrahend.size(); ++i) difference[i].nll.sum -= subtrahend[i].nll.sum;
  return {"", std::move(difference)};
}

/// Returns the difference of mean NLL in a pair minus that in the `other` pair.
ControlComparison compared(const std::string& name, const Pair& pair, const Pair* other = nullptr) {
  ControlComparison comparison;
  comparison.name = name;
  comparison.reason = pair.reason.empty() && other != nullptr ? other->reason : pair.reason;
  if (!comparison.reason.empty()) return comparison;
  std::vector<WindowRecord> zero = pair.difference;
  for (WindowRecord& window : zero) window.nll.sum = 0;
  const PairedDifference paired = paired_difference(pair.difference, other == nullptr ? zero : other->difference);
  comparison.difference = paired.difference;
  comparison.reach = paired.standard_error * student_t_975(paired.windows - 1);
  return comparison;
}

/// Returns "-0.0123 [-0.0150, -0.0096]".
std::string text_of(const ControlComparison& comparison) {
  const auto& [name, difference, reach, reason] = comparison;
  if (!reason.empty()) return reason;
  if (!std::isfinite(reach)) return fmt::format("{:+.4f}", difference);
  return fmt::format("{:+.4f} [{:+.4f}, {:+.4f}]", difference, difference - reach, difference + reach);
}

std::string scales_of(const Json& row) {
  std::string text;
  for (const Json& g : row["search"]["g"]) text += fmt::format("{}{:.3g}", text.empty() ? "" : " ", g.get<double>());
  constexpr std::size_t kLongest = 60;
  return text.size() <= kLongest ? text : std::to_string(row["search"]["g"].size()) + " scales";
}

}  // namespace

bool has_controls(const Json& row) { return !value_at(row, "/controls").is_null(); }

std::vector<ControlComparison> compare_controls(const Results& results, const std::vector<Json>& rows,
                                                const Json& row) {
  const auto control = [&](const char* name) { return row_of(rows, row["controls"].value(name, "")); };
  const Pair found = pair_of(results, &row, control(kUnscaled));
  std::vector<ControlComparison> comparisons{compared(kFoundGain, found)};
  if (row["controls"].contains(kFullPrecision)) {
    const Pair full = pair_of(results, control(kFullPrecisionScaled), control(kFullPrecision));
    comparisons.push_back(compared(kFullPrecisionGain, full));
    comparisons.push_back(compared(kGainBeyond, found, &full));
  }
  comparisons.push_back(compared(kRandomGain, pair_of(results, control(kRandomScales), control(kUnscaled))));
  return comparisons;
}

std::string show_controls(const Results& results, const std::vector<Json>& rows, const std::string& format) {
  std::vector<std::string> axes;
  for (const Json& row : rows) {
    if (!has_controls(row)) continue;
    for (const auto& [axis, value] : row["axes"].items()) {
      if (std::ranges::find(axes, axis) == axes.end()) axes.push_back(axis);
    }
  }
  Table table{axes, {}, axes.size()};
  for (const char* column : {kFoundGain, kFullPrecisionGain, kGainBeyond, kRandomGain, "on dev", "g"}) {
    table.header.emplace_back(column);
  }
  for (const Json& row : rows) {
    if (!has_controls(row)) continue;
    std::vector<std::string> cells(table.header.size());
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (row["axes"].contains(axes[i])) cells[i] = axis_label(row["axes"][axes[i]]);
    }
    for (const ControlComparison& comparison : compare_controls(results, rows, row)) {
      const auto column = std::ranges::find(table.header, comparison.name) - table.header.begin();
      cells[static_cast<std::size_t>(column)] = text_of(comparison);
    }
    if (!value_at(row, "/search").is_null()) {
      cells[cells.size() - 2] = fmt::format("{:+.4f}", 0 - row["search"]["dev_gain"].get<double>());
      cells.back() = scales_of(row);
    }
    table.rows.push_back(std::move(cells));
  }
  if (table.rows.empty()) return "";
  return "\nsearched scales and their controls: mean NLL less that of the same model with scales of 1, nats per token, "
         "with 95 % intervals over paired windows\n" +
         table.render(format);
}

}  // namespace qroar
