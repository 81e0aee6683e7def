#include "base/csv.h"

#include "base/error.h"

namespace qroar {

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c == '\n' || c == '\r' ? ' ' : c;
  }
  return quoted + '"';
}

std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[i++];
    } else if (line[i] == '"') {
      quoted = !quoted;
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
