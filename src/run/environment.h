// Where a number came from: program, libraries, machine, device, time.
#pragma once
#include <ATen/ATen.h>

#include "config/config.h"

namespace qroar {

/// {program, commit, torch, device, device_name, cpu_capability, settings, kernels, threads, host, started}; the
/// inputs' hashes are the runner's to add.  `settings`: environment variables that hold numeric libraries to other
/// code.
Json describe_environment(const at::Device& device);

/// What of it decides the last bits of a result, whose parts may be put together only where it is the same: commit,
/// device, kind of processor, instruction set, settings, kernels.
Json deciding_bits(const Json& environment);

/// The program's git commit, with "-dirty" when the tree had changes as it was built.
std::string build_commit();

}  // namespace qroar
