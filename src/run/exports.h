// The block `export` of a job: the output of a cell outside of its results.
#pragma once
#include "run/job.h"

namespace qroar {

/// Reads the block; throws an Error at its place for what a Hugging Face folder cannot represent.
std::optional<ExportSpec> parse_export(const Config& root, const Job& job);

/// Throws an Error for a folder that cannot be made, for one that holds anything but an earlier export, for a model
/// that these jobs read, and for a folder that two jobs name.
void check_export_folders(const std::vector<Job>& jobs);

/// Returns whether the job's folder holds this cell's export, whole and made of these inputs; null stands for any.
bool is_exported(const Job& job, const Json& inputs);

/// Writes the folder; `evaluated` is the model as it was evaluated, of these inputs.
void export_cell(const Job& job, const Json& inputs, const Llama& original, const Rescaling& rescaling,
                 const Llama& evaluated);

}  // namespace qroar
