// Rows of a diagnostic's table by what their columns say.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "support/diagnostic.h"

namespace qroar {

using Row = std::map<std::string, std::string>;
using Table = std::vector<Row>;

/// The table of a diagnostic given in YAML, a map from column to text per row.
inline Table table_of(const DiagnosedCell& cell, const std::string& yaml) {
  const CsvTable csv = diagnose(cell, yaml);
  Table table;
  for (const auto& fields : csv.rows) {
    Row row;
    for (std::size_t i = 0; i < fields.size(); ++i) row[csv.columns[i]] = fields[i];
    table.push_back(row);
  }
  return table;
}

/// The first row whose columns have these texts: of layer 0, where all else is told.
inline Row first_row(const Table& table, const Row& wanted) {
  for (const Row& row : table) {
    const bool found = std::all_of(wanted.begin(), wanted.end(),
                                   [&](const auto& column) { return row.at(column.first) == column.second; });
    if (found) return row;
  }
  check(false, "the table has such a row");
  return {};
}

}  // namespace qroar
