// Packs the input of a batch scheduler's jobs: a sweep as it was when it was submitted.
#pragma once
#include "run/sweep.h"

namespace qroar {

struct PackOptions {
  RunOptions run;
  double hours = 0;
  std::string device = "cpu";  ///< of the tasks: "cpu" or "cuda"
};

/// Checks the experiment, loading its data, and makes `folder` (completely or not at all): `qroar`, this program;
/// `configs`, the experiment's files under their absolute paths, with links to the targets of their relative paths;
/// `tasks`, with one line of the ids of unfinished cells for each of at most options.shards tasks of about equal work,
/// or, where `hours` is above 0, of so many tasks that each takes about as long (parts_of_hours()).  Returns the new
/// path of the experiment's file; nothing, and no folder, where every cell is finished.
std::optional<std::filesystem::path> pack_submission(const PackOptions& pack, const std::filesystem::path& folder);

/// Returns the absolute path of an experiment's file; for a copy in such a folder, that of the original, which may no
/// longer exist.
std::filesystem::path original_of(const std::filesystem::path& file);

}  // namespace qroar
