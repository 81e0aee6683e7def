// `qroar check`: experiments validated to the last cell, and what they will take.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace qroar {

/// Parses every job of every file, opens its model and reads its texts and questions; reports the errors of all cells
/// and files in one call, and the estimated cost of a good experiment: of what its results folder lacks.  Returns
/// whether all are good.
bool check_files(const std::vector<std::string>& files, const std::vector<std::string>& overrides,
                 const std::filesystem::path& results);

}  // namespace qroar
