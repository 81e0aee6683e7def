// The table under every table with searched scales.
#include <algorithm>
#include <cmath>

#include "harness/controls.h"
#include "harness/show.h"
#include "harness/table.h"

namespace qroar {
namespace {

const Json* row_of(const std::vector<Json>& rows, const std::string& id) {
  const auto found = std::ranges::find_if(rows, [&](const Json& row) { return row["id"] == id; });
  return found == rows.end() ? nullptr : &*found;
}

/// "-0.0123 [-0.0150, -0.0096]": mean NLL of `a` less that of `b`.
std::string interval(const Results& results, const Json* a, const Json* b) {
  if (a == nullptr || b == nullptr) return "not run";
  if ((*a)["status"] != "ok" || (*b)["status"] != "ok") return "failed";
  const auto windows_of = [&](const Json& row) {
    return read_windows(results.cell(row["id"].get<std::string>()) / "windows.csv");
  };
  const PairedDifference paired = paired_difference(windows_of(*a), windows_of(*b));
  const double reach = paired.standard_error * student_t_975(paired.windows - 1);
  if (!std::isfinite(reach)) return fmt::format("{:+.4f}", paired.difference);
  return fmt::format("{:+.4f} [{:+.4f}, {:+.4f}]", paired.difference, paired.difference - reach,
                     paired.difference + reach);
}

std::string scales_of(const Json& row) {
  std::string text;
  for (const Json& g : row["search"]["g"]) text += fmt::format("{}{:.3g}", text.empty() ? "" : " ", g.get<double>());
  constexpr std::size_t kLongest = 60;
  return text.size() <= kLongest ? text : std::to_string(row["search"]["g"].size()) + " scales";
}

}  // namespace

std::string show_controls(const Results& results, const std::vector<Json>& rows, const std::string& format) {
  std::vector<std::string> axes;
  for (const Json& row : rows) {
    if (!row.contains("controls")) continue;
    for (const auto& [axis, value] : row["axes"].items()) {
      if (std::ranges::find(axes, axis) == axes.end()) axes.push_back(axis);
    }
  }
  Table table{axes, {}, axes.size()};
  for (const char* column : {"quantized, found g", "full precision, same g", "quantized, random g", "on dev", "g"}) {
    table.header.emplace_back(column);
  }
  for (const Json& row : rows) {
    if (!row.contains("controls")) continue;
    const auto difference = [&](const Json* of, const char* from) {
      return row["controls"].contains(from) ? interval(results, of, row_of(rows, row["controls"][from])) : "";
    };
    const auto control = [&](const char* name) { return row_of(rows, row["controls"].value(name, "")); };
    std::vector<std::string> cells;
    for (const auto& axis : axes) cells.push_back(row["axes"].contains(axis) ? axis_label(row["axes"][axis]) : "");
    cells.push_back(difference(&row, kUnscaled));
    cells.push_back(difference(control(kFullPrecisionScaled), kFullPrecision));
    cells.push_back(difference(control(kRandomScales), kUnscaled));
    const bool searched = row.contains("search");
    cells.push_back(searched ? fmt::format("{:+.4f}", 0 - row["search"]["dev_gain"].get<double>()) : "");
    cells.push_back(searched ? scales_of(row) : "");
    table.rows.push_back(std::move(cells));
  }
  if (table.rows.empty()) return "";
  return "\nsearched scales and their controls: mean NLL less that of the same model with scales of 1, nats per token, "
         "with 95 % intervals over paired windows\n" +
         table.render(format);
}

}  // namespace qroar
