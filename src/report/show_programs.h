// What `show` prints for programs: every number in full.
#pragma once
#include <string>
#include <vector>

#include "report/differences.h"

namespace qroar {

/// One column per axis, metric field, cost, and number of a difference.
std::string csv_text(const std::vector<Json>& rows, Differences& differences);

/// The rows as they lie in the cells; with `differs` where `beside` has something of a row, and with `paired` where
/// there are baselines.
std::string json_text(std::vector<Json> rows, const std::vector<Json>& beside, Differences& differences);

}  // namespace qroar
