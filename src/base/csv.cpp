#include "base/csv.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/number.h"

namespace qroar {
namespace {

bool is_number(std::string_view text) {
  double value = 0;
  const std::size_t sign = text.starts_with('+') && !text.starts_with("+-") ? 1 : 0;
  return read_number(text.substr(sign), value) == std::errc();
}

/// Returns whether the first word is a number, as in "-0.01 [-0.02, +0.01]", which no spreadsheet runs.
bool begins_with_number(const std::string& text) { return is_number(std::string_view(text).substr(0, text.find(' '))); }

bool needs_apostrophe(const std::string& text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == text.npos) return false;
  if (text[0] == '\'') return true;
  return std::string_view("=+-@\t").find(text[first]) != std::string_view::npos && !begins_with_number(text);
}

}  // namespace

std::string csv_field(const std::string& text) {
  std::string line = text;
  std::ranges::replace_if(
      line, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  const bool formula = needs_apostrophe(line);
  if (!formula && line.find_first_of(",\"") == std::string::npos) return line;
  std::string quoted = formula ? "\"'" : "\"";
  for (const char c : line) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false, begins = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool first = std::exchange(begins, false);
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[i++];
    } else if (line[i] == '"') {
      quoted = !quoted;
      begins = quoted;
    } else if (first && line[i] == '\'') {
      continue;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  return fields;
}

std::string csv_number(double value) { return fmt::format("{:.9g}", value); }

std::string CsvTable::text() const {
  std::string text;
  const auto append = [&](const std::vector<std::string>& fields) {
    check(fields.size() == columns.size(), "a row of a table has one field per column");
    for (std::size_t i = 0; i < fields.size(); ++i) text += (i == 0 ? "" : ",") + csv_field(fields[i]);
    text += '\n';
  };
  append(columns);
  for (const auto& row : rows) append(row);
  return text;
}

}  // namespace qroar
