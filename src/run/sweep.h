// Runs the cells of an experiment that are not finished yet.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "results/results.h"
#include "run/cell.h"

namespace qroar {

struct RunOptions {
  std::filesystem::path file;
  std::vector<std::string> overrides;
  std::filesystem::path results;  ///< empty: results/<stem of the file>
  int64_t shard = 1, shards = 1;  ///< this process runs one of this number of parts of about equal work
  std::vector<std::string> only;  ///< prefixes of ids; empty: all cells
  bool rerun = false;             ///< also run finished cells
};

/// Runs the cells that no other process has, one after the other, and waits for those that others have.  Prints the
/// table of the experiment's rows to stdout.  Returns true when no cell of this run failed.  Throws for errors that
/// stop a whole run: a bad experiment, data that does not load, a write that fails; Stopped.
bool run_experiment(const RunOptions& options);

/// Prints the table of the jobs' rows to stdout; `rows`: those of the results.
void print_rows(const Results& results, const std::vector<Json>& rows, const std::vector<Job>& jobs);

/// Returns options.results, or its default.
std::filesystem::path results_folder(const RunOptions& options);

/// Returns the folder that it lies in, beside those of other experiments.
std::filesystem::path folder_of_results(const RunOptions& options);

/// Returns the cells without a row that is ok and has the same inputs.
std::vector<Cell> unfinished(std::vector<Cell> cells, const std::filesystem::path& results);

}  // namespace qroar
