// Where a number came from: program, libraries, machine, device, time.
#pragma once
#include <ATen/ATen.h>

#include "config/config.h"

namespace qroar {

/// {program, commit, torch, device, device_name, host, threads, kernels, started}; the inputs' hashes are the runner's
/// to add.
Json describe_environment(const at::Device& device);

/// The program's git commit, with "-dirty" when the tree had changes as it was built.
std::string build_commit();

}  // namespace qroar
