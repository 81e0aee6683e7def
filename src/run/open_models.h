// The models of an experiment, opened before anything runs: headers of weights, tokenizers.
#pragma once
#include <vector>

#include "run/job.h"

namespace qroar {

/// Sets of every job what its model's folder holds (Job::opened), each folder looked at once; of one that cannot be
/// opened, Job::unopened says why.  Logs what was guessed of it or is not known.
void open_models(std::vector<Job>& jobs);

}  // namespace qroar
