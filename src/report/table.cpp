#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

#include "base/csv.h"
#include "base/utf8.h"

namespace qroar {
namespace {

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string space(width - std::min(width, utf8_characters(text)), ' ');
  return left ? text + space : space + text;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0; }

/// Returns a text of which Markdown, GitHub's formulas and HTML take nothing for their own.
std::string markdown_escaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool inside = i > 0 && i + 1 < text.size() && is_word(text[i - 1]) && is_word(text[i + 1]);  // of a word
    const bool link = c == '(' && i > 0 && text[i - 1] == ']';
    if (link || (c == '_' && !inside) || std::string_view("\\`*<>|$~^").find(c) != std::string_view::npos) out += '\\';
    out += c == '&' ? "&amp;" : std::string(1, c);
  }
  return out;
}

Table markdown_escaped(Table table) {
  for (std::string& title : table.header) title = markdown_escaped(title);
  for (auto& row : table.rows) {
    for (std::string& cell : row) cell = markdown_escaped(cell);
  }
  return table;
}

}  // namespace

std::string Table::render(const std::string& format) const {
  return format == "markdown" ? markdown_escaped(*this).lines(format) : lines(format);
}

std::string Table::lines(const std::string& format) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < header.size(); ++c) {
    widths.push_back(utf8_characters(header[c]));
    for (const auto& row : rows) widths[c] = std::max(widths[c], utf8_characters(row[c]));
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const bool first = c == 0;
      if (format == "table") out += (first ? "" : "  ") + padded(cells[c], widths[c], c < label_columns);
      if (format == "csv") out += (first ? "" : ",") + csv_field(cells[c]);
      if (format == "markdown") out += (first ? "| " : " | ") + padded(cells[c], widths[c], c < label_columns);
    }
    return out + (format == "markdown" ? " |\n" : "\n");
  };
  std::string out = line(header);
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
  return out;
}

std::string render(const std::vector<Table>& tables, const std::string& format) {
  std::string text;
  for (const Table& table : tables) {
    text += (text.empty() ? "" : "\n") +
            (table.title.empty() ? "" : (format == "markdown" ? markdown_escaped(table.title) : table.title) + "\n") +
            table.render(format);
  }
  return text;
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
  if (effect.is_of_equals()) return "equal";
  const double reach = effect.reach();
  if (!std::isfinite(reach)) return fmt::format("{:+.4f}", effect.value);
  const int digits = reach > 0 ? decimals(reach, 4) : 4;
  return fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}]{}", effect.value, digits, effect.low(), digits, effect.high(),
                     digits, survives ? "*" : "");
}

}  // namespace qroar
