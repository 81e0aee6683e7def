// A table of text cells and its renderings.
#pragma once
#include <string>
#include <vector>

#include "base/interval.h"

namespace qroar {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::size_t label_columns = 1;  ///< number of leading text columns, flush left; the rest are numbers, flush right
  std::string title = "";         ///< stands above it; may be empty

  /// Renders the table without its title; format: table (aligned text), csv or markdown (report/latex.h has the other).
  std::string render(const std::string& format) const;

 private:
  std::string lines(const std::string& format) const;
};

/// Renders tables under their titles, separated by empty lines.
std::string render(const std::vector<Table>& tables, const std::string& format);

/// Returns a value with its interval: two significant digits of its half width, and at least two decimals ("35.29
/// [34.8, 35.9]"); from 1e9 on five digits and a power of ten.  Without an interval (NaN), the value.
std::string with_interval(double value, double low, double high);

/// Returns "+0.0123 [+0.0050, +0.0196]", with a star for an effect that survives among its table's comparisons.
std::string effect_text(const Estimate& effect, bool survives);

}  // namespace qroar
