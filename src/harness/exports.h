// The block `export` of a job: what a cell leaves outside of its results.
#pragma once
#include "harness/job.h"

namespace qroar {

/// Does the job's folder hold what this cell exports?
bool is_exported(const Job& job);

/// Writes the folder; `evaluated` is the model as it was evaluated.
void export_cell(const Job& job, const Llama& original, const Rescaling& rescaling, const Llama& evaluated);

}  // namespace qroar
