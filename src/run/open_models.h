// Opens the models of an experiment before anything runs: headers of weights, tokenizers.
#pragma once
#include <vector>

#include "run/job.h"

namespace qroar {

/// Sets Job::opened of every job to the content of its model's folder, reading each folder once; for a folder that
/// cannot be opened, sets Job::open_error to the reason.  Logs what was guessed about it or is unknown.
void open_models(std::vector<Job>& jobs);

}  // namespace qroar
