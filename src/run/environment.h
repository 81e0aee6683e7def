// The provenance of a number: program, libraries, machine, device, time.
#pragma once
#include <ATen/ATen.h>

#include "config/config.h"

namespace qroar {

/// Returns {program, commit, torch, device, device_name, cpu_capability, settings, kernels, threads, host, started};
/// the runner adds the hashes of the inputs.  `settings`: environment variables that make numeric libraries use other
/// code.
Json describe_environment(const at::Device& device);

/// Returns the part of the environment that decides the last bits of a result: commit, device, kind of processor,
/// instruction set, settings, kernels.  Parts of a result may be combined only where it is the same.
Json deciding_bits(const Json& environment);

/// Returns the same of this machine and a device, without the commit and what belongs to a cell: a part of the keys of
/// caches that other commits may use, too.
Json machine_bits(const at::Device& device);

/// Returns the program's git commit, with "-dirty" when the tree had changes at build time.
std::string build_commit();

}  // namespace qroar
