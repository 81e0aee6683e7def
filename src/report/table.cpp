#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/csv.h"

namespace qroar {
namespace {

/// Returns the number of columns that a terminal needs: bytes that do not continue a UTF-8 sequence.
std::size_t display_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string space(width - std::min(width, display_width(text)), ' ');
  return left ? text + space : space + text;
}

std::string latex_escaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "±") == 0) {
      out += "$\\pm$";
      i += 1;
    } else if (text.compare(i, 3, "−") == 0) {
      out += "$-$";
      i += 2;
    } else if (std::string("&%$#_{}").find(text[i]) != std::string::npos) {
      out += std::string("\\") + text[i];
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string Table::render(const std::string& format) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < header.size(); ++c) {
    widths.push_back(display_width(header[c]));
    for (const auto& row : rows) widths[c] = std::max(widths[c], display_width(row[c]));
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const bool first = c == 0;
      if (format == "table") out += (first ? "" : "  ") + padded(cells[c], widths[c], c < label_columns);
      if (format == "csv") out += (first ? "" : ",") + csv_field(cells[c]);
      if (format == "markdown") out += (first ? "| " : " | ") + padded(cells[c], widths[c], c < label_columns);
      if (format == "latex") out += (first ? "" : " & ") + latex_escaped(cells[c]);
    }
    return out + (format == "markdown" ? " |\n" : format == "latex" ? " \\\\\n" : "\n");
  };
  std::string out;
  if (format == "latex") {
    out += "\\begin{tabular}{" + std::string(label_columns, 'l') + std::string(header.size() - label_columns, 'r') +
           "}\n\\toprule\n";
  }
  out += line(header);
  if (format == "latex") out += "\\midrule\n";
  if (format == "table") {
    std::vector<std::string> rule;
    for (const std::size_t width : widths) rule.emplace_back(width, '-');
    out += line(rule);
  }
  if (format == "markdown") {
    for (std::size_t c = 0; c < header.size(); ++c) {
      out += (c == 0 ? "|" : "") + std::string(c < label_columns ? ":" : "-") + std::string(widths[c], '-') +
             (c < label_columns ? "-|" : ":|");
    }
    out += "\n";
  }
  for (const auto& row : rows) out += line(row);
  if (format == "latex") out += "\\bottomrule\n\\end{tabular}\n";
  return out;
}

namespace {

/// Returns the number of decimals that show two significant digits of an interval's half width, `fewest` at least.
int decimals(double reach, int fewest) {
  return std::clamp(1 - static_cast<int>(std::floor(std::log10(reach))), fewest, 12);
}

}  // namespace

std::string with_interval(double value, double low, double high) {
  const double reach = (high - low) / 2;
  if (!std::isfinite(reach) || reach <= 0) return fmt::format("{:.5g}", value);
  if (std::abs(high) >= 1e9) return fmt::format("{:.5g} [{:.5g}, {:.5g}]", value, low, high);
  const int digits = decimals(reach, 2);
  return fmt::format("{:.{}f} [{:.{}f}, {:.{}f}]", value, digits, low, digits, high, digits);
}

std::string effect_text(const Estimate& effect, bool survives) {
  const double reach = effect.reach();
  if (!std::isfinite(reach)) return fmt::format("{:+.4f}", effect.value);
  const int digits = reach > 0 ? decimals(reach, 4) : 4;
  return fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}]{}", effect.value, digits, effect.low(), digits, effect.high(),
                     digits, survives ? "*" : "");
}

}  // namespace qroar
