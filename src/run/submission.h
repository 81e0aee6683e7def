// What a batch scheduler's jobs run: a sweep as it was when it was submitted.
#pragma once
#include "run/sweep.h"

namespace qroar {

/// Checks the experiment, loading its data, and makes `folder` (whole or not at all): `qroar`, this program; `configs`,
/// the experiment's files under their absolute paths, with links to what their relative paths lead to; `tasks`, of each
/// of at most options.shards tasks of about equal work a line with the ids of its unfinished cells.  Returns where the
/// experiment's file now lies; nothing, and no folder, where every cell is finished.
std::optional<std::filesystem::path> pack_submission(const RunOptions& options, const std::filesystem::path& folder);

/// The absolute path of an experiment's file; of a copy in such a folder that of the original, which may be gone.
std::filesystem::path original_of(const std::filesystem::path& file);

}  // namespace qroar
