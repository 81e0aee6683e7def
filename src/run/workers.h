// One node with several GPUs: a process of this program for each, over the same claims.
#pragma once
#include "run/sweep.h"

namespace qroar {

/// The device that each worker is to use: of `all` every GPU that this process sees, else the names between the commas
/// (cpu, cuda:N; a name may come twice).  An Error for an unknown name, or where no GPU is there.
std::vector<std::string> worker_devices(const std::string& devices);

/// Runs the experiment in one process per device, each of which sees only its own (CUDA_VISIBLE_DEVICES; the
/// processor's cores are shared out, unless OMP_NUM_THREADS is set), and prints the table.  A signal to stop is handed
/// on.  Cells of a worker that dies go to the others.  The exit code of the program: the highest of the workers'.
int run_workers(const RunOptions& options, const std::vector<std::string>& devices);

/// What a worker's log lines begin with: its device, or nothing in another process.
std::string worker_name();

}  // namespace qroar
