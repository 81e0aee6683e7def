// The table under every table with searched scales.
#pragma once
#include <string>
#include <vector>

#include "results/results.h"

namespace qroar {

/// Of every search its gain beside its controls: differences of mean NLL with 95 % intervals (Student's t over paired
/// windows).  Empty where no row was searched; a control that has not run, or failed, is named.
std::string show_controls(const Results& results, const std::vector<Json>& rows, const std::string& format);

}  // namespace qroar
