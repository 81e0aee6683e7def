// The output of `show` for programs: every number with all its digits.
#pragma once
#include <string>
#include <vector>

#include "report/differences.h"

namespace qroar {

/// Returns CSV with one column per axis, metric field, cost, and number of a difference.
std::string csv_text(const std::vector<Json>& rows, const Differences& differences);

/// Returns the data of a figure (report/pgfplots.h): of differences where there are baselines, else of shown_metrics().
std::string pgfplots_text(const std::vector<Json>& rows, const Differences& differences);

/// Returns the rows as stored in the cells (or means over their rounding draws), each with these additional members:
///   labels    {axis: label of its value in tables}, including those of `differs`
///   texts     {metric: its value with its interval, as in tables}
///   differs   the differences from other rows that are not axes (see beside_axes()); absent where there are none
///   paired    the comparison with its baseline (see Differences::json()); absent without baselines
///   searched  {comparison: {difference, low, high ...}, or {reason}} of a search with its controls
/// `shown`: the same rows as shown in tables.
std::string json_text(Effects& effects, std::vector<Json> rows, const std::vector<Json>& shown,
                      const std::vector<Json>& beside, const Differences& differences);

}  // namespace qroar
