// Jobs with their texts: what the runner runs.
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
  std::shared_ptr<const CalibrationText> calibration;  ///< null where no quantizer asks for it
  std::shared_ptr<const Dataset> dev;                  ///< what scales are searched on; null without a search
  std::shared_ptr<const CalibrationText> dev_calibration;
  std::vector<std::string> warnings;  ///< for whoever reads the row, a line each

  /// Floating point operations of its forwards over windows, and of its tasks as they estimate them.
  double flops() const;
  double flops(const Window& window) const;
  /// Estimate of what comes before, in the same unit, and need not be done again for the next cell where Job::shared is
  /// the same: one window for weights, calibration, and the search (100 forwards where it has no budget).
  double setup_flops() const;
  /// Tokens that go through the model at once, at most.
  int64_t longest() const;
};

/// Opens each model, loads each data set and all questions once and cuts texts into windows, so that whatever is wrong
/// with them shows before the first cell runs.  The Error for bad data has a line for each distinct complaint; a cell
/// whose model cannot be opened (Job::unopened) is a cell without data.
std::vector<Cell> plan(std::vector<Job>& jobs);

/// Throws an Error with what is wrong with each model that cannot be opened.
void check_opened(const std::vector<Cell>& cells);

/// Estimate of the bytes that a cell's largest forward takes beside the weights.
int64_t forward_bytes(const Cell& cell);
/// Throws an Error when that is more than the device has free.
void check_memory(const Cell& cell, const at::Device& device);

/// In the experiment's order, but that cells which share something become neighbours.
std::vector<Cell> with_sharing_neighbours(std::vector<Cell> cells);

/// At most `parts` parts of cells that are neighbours by sharing, of about equal work.
std::vector<std::vector<Cell>> packed_cells(std::vector<Cell> cells, std::size_t parts);

}  // namespace qroar
