// The block `export` of a job: what a cell leaves outside of its results.
#pragma once
#include "run/job.h"

namespace qroar {

/// Throws an Error at the block's place for what a folder of Hugging Face's cannot say.
std::optional<ExportSpec> parse_export(const Config& root, const Job& job);

/// Throws an Error for a folder that cannot be made, that holds something else than an earlier export or a model that
/// these jobs read, and for one that two jobs name.
void check_export_folders(const std::vector<Job>& jobs);

/// Does the job's folder hold what this cell exports?
bool is_exported(const Job& job);

/// Writes the folder; `evaluated` is the model as it was evaluated.
void export_cell(const Job& job, const Llama& original, const Rescaling& rescaling, const Llama& evaluated);

}  // namespace qroar
