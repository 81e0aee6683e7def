// Runs the cells of an experiment that are not finished yet.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace qroar {

struct RunOptions {
  std::filesystem::path file;
  std::vector<std::string> overrides;
  std::filesystem::path results;  ///< empty: results/<stem of the file>
  int64_t shard = 1, shards = 1;  ///< this process takes jobs shard-1, shard-1+shards, ... of the sweep
  std::string only;               ///< beginning of one cell's id; empty: all
  bool rerun = false;             ///< also cells that are finished
};

/// Prints the table of the experiment's rows to stdout.  True when no cell of this run failed.  Throws for what stops a
/// whole run: a bad experiment, data that does not load, a write that fails.
bool run_experiment(const RunOptions& options);

}  // namespace qroar
