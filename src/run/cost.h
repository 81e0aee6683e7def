// The estimated cost of an experiment, for deciding where to run it.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "run/cell.h"

namespace qroar {

/// Returns "48 cells, 192 windows of 368,640 tokens, 3.9 TFLOP; largest memory about 0.1 GB; about 25 s here": forwards
/// over windows and questions, calibration, searches and diagnostics.  The time is estimated from the last rows of this
/// machine and kind of device in the first of `results` (folders of results folders) that has any: those of the same
/// model and dtype, or else, as it says, of any; and left out when there are none.
std::string cost_of(const std::vector<Cell>& cells, const std::vector<std::filesystem::path>& results);

/// Returns how many parts of about `hours` each the cells make on the kind of device ("cpu" or "cuda"), at least one,
/// by the last rows of any machine under `results`, of the same model and dtype where there are any.  Throws an Error
/// where there are none.
std::size_t parts_of_hours(const std::vector<Cell>& cells, double hours, const std::string& device,
                           const std::filesystem::path& results);

}  // namespace qroar
