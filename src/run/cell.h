// Jobs with their texts, as the runner runs them.
#pragma once
#include <memory>
#include <vector>

#include "run/job.h"

namespace qroar {

/// A job with its documents and windows.
struct Cell {
  Job* job;
  std::shared_ptr<const Dataset> data;  ///< null where there are only tasks
  std::vector<Window> windows;
  std::shared_ptr<const CalibrationText> calibration;  ///< null when no quantizer requires it
  std::shared_ptr<const Dataset> dev;  ///< the texts that a search of scales uses; null without a search
  std::shared_ptr<const CalibrationText> dev_calibration;
  std::vector<std::string> warnings;  ///< for the readers of the row, one line each

  /// Returns the floating point operations of its forwards over windows, and those that its tasks estimate.
  double flops() const;
  double flops(const Window& window) const;
  double diagnostics_flops() const;  ///< an estimate of what its diagnostics take, in the same unit
  /// Returns an estimate of the work before the evaluation, in the same unit, which the next cell need not repeat where
  /// Job::shared is the same: one window for weights, calibration, and the search.
  double setup_flops() const { return calibration_flops() + search_flops(); }
  double calibration_flops() const;  ///< with the window for weights
  double search_flops() const;       ///< its budget, or the most that its strategy takes; 0 without a search
  /// Returns the maximum number of tokens that go through the model at once.
  int64_t longest() const;
};

/// Opens each model, loads each data set and all questions once and cuts texts into windows, so that all errors in them
/// show before the first cell runs.  Throws an Error for bad data with a line for each distinct complaint; a cell whose
/// model cannot be opened (Job::open_error) is a cell without data.
std::vector<Cell> plan(std::vector<Job>& jobs);

/// Throws an Error that says, for each model that cannot be opened, what is wrong.
void check_opened(const std::vector<Cell>& cells);

/// Returns the cells in the experiment's order, except that cells that share something become neighbours.
std::vector<Cell> group_by_shared(std::vector<Cell> cells);

/// Returns the cells with those of longer windows first among neighbours of one model: shorter windows may be
/// beginnings of theirs.
std::vector<Cell> longest_first(std::vector<Cell> cells);

/// Divides the cells into at most `parts` parts of about equal work; each part consists of neighbours by sharing.
std::vector<std::vector<Cell>> packed_cells(std::vector<Cell> cells, std::size_t parts);

}  // namespace qroar
