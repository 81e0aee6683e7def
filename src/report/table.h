// A table of text cells and its renderings.
#pragma once
#include <string>
#include <vector>

namespace qroar {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::size_t label_columns = 1;  ///< number of leading text columns, flush left; the rest are numbers, flush right

  /// Renders the table; format: table (aligned text), csv, markdown or latex (booktabs).
  std::string render(const std::string& format) const;
};

/// Returns a value with its error: two significant digits of the error, and at least two decimals ("35.2913 ± 0.0051");
/// from 1e9 on five digits and a power of ten.
std::string with_error(double value, double error);

}  // namespace qroar
