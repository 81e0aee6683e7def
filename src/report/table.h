// A rectangle of text and its renderings.
#pragma once
#include <string>
#include <vector>

namespace qroar {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::size_t label_columns = 1;  ///< so many first columns are words and flush left; the rest are figures, flush right

  /// format: table (aligned text), csv, markdown or latex (booktabs).
  std::string render(const std::string& format) const;
};

/// A figure with its error: two significant digits of that, and two decimals at least ("35.2913 ± 0.0051"); from 1e9 on
/// five digits and a power of ten.
std::string with_error(double value, double error);

}  // namespace qroar
