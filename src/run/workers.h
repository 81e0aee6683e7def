// Runs several GPUs of one node: one process of this program for each, with shared claims.
#pragma once
#include "run/sweep.h"

namespace qroar {

/// Returns the device of each worker: for `all`, every GPU that this process sees, else the comma-separated names (cpu,
/// cuda:N; a name may occur twice).  Throws an Error for an unknown name, or when there is no GPU.
std::vector<std::string> worker_devices(const std::string& devices);

/// Runs the experiment in one process per device, each of which sees only its own (CUDA_VISIBLE_DEVICES; the
/// processor's cores are divided among them, unless OMP_NUM_THREADS is set), and prints the table.  Forwards a signal
/// to stop.  Other workers take over the cells of a worker that dies.  Returns the exit code of the program: the
/// highest of the workers'.
int run_workers(const RunOptions& options, const std::vector<std::string>& devices);

/// Returns the prefix of a worker's log lines: its device, or nothing in another process.
std::string worker_name();

}  // namespace qroar
