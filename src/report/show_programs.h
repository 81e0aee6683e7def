// What `show` prints for programs: every number in full.
#pragma once
#include <string>
#include <vector>

#include "report/differences.h"

namespace qroar {

/// One column per axis, metric field, cost, and number of a difference.
std::string csv_text(const std::vector<Json>& rows, Differences& differences);

/// The rows as they lie in the cells, and beside that of each:
///   labels    {axis: what tables call its value}, those of `differs` among them
///   texts     {metric: its value with its error, as tables have it}
///   differs   what tells it from other rows and is no axis (see beside_axes()); absent where there is nothing
///   paired    the comparison with its baseline (see Differences::json()); absent without baselines
///   searched  {comparison: {difference, low, high}, or {reason}} of a search with its controls
/// `shown`: the same rows as tables have them.
std::string json_text(const Results& results, std::vector<Json> rows, const std::vector<Json>& shown,
                      const std::vector<Json>& beside, Differences& differences);

}  // namespace qroar
