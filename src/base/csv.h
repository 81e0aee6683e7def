// Comma-separated values, RFC 4180: fields with commas or quotes are quoted.  A line break
// becomes a space, since tables are read line by line.  A text that a spreadsheet would run as a formula (it begins
// with = + - @ or a tab, and is no number) is quoted and gets an apostrophe in front, as OWASP advises ("CSV
// Injection"); one that begins with an apostrophe gets another, so that csv_fields() returns both as they were.
#pragma once
#include <string>
#include <vector>

namespace qroar {

std::string csv_field(const std::string& text);
std::vector<std::string> csv_fields(const std::string& line);

/// Returns a number as text with nine significant digits, or inf.
std::string csv_number(double value);

/// A table with one header line.
struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  ///< each as long as `columns`
  std::string text() const;
};

}  // namespace qroar
