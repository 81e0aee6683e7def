// Rows of one experiment that read other versions of the same files: a run that was killed, or that ran some cells
// alone, after a file had changed leaves such rows beside each other.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// Returns what two rows read in two versions though their configurations name the same: "model", "tokenizer", "data",
/// "reference", "tasks", "calibration", "dev" or "scales"; empty where nothing.
std::string changed_between(const Json& a, const Json& b);

/// Returns a line that says what some of the rows read in another version than others; empty where nothing.
std::string changed_files(const std::vector<Json>& rows);

}  // namespace qroar
