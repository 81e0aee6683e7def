// Runs one cell after the other: model, windows, tasks, diagnostics, row.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/progress.h"
#include "results/claims.h"
#include "results/partial.h"
#include "results/results.h"
#include "run/cell.h"
#include "run/measure_windows.h"

namespace qroar {

/// A cell that this process holds while it runs another.
struct HeldCell {
  const Cell* cell;
  std::unique_ptr<Claim> claim;
};

class CellRunner {
 public:
  /// `rerun`: use no results of earlier runs.
  CellRunner(Results results, std::string experiment, bool rerun)
      : results_(std::move(results)), experiment_(std::move(experiment)), rerun_(rerun) {}

  /// Returns whether a finished row exists for this cell with exactly the current inputs.
  bool is_finished(const Cell& cell, const std::optional<Json>& row);

  /// Sets the total work, from which the remaining time is estimated.
  void expect(double flops) { progress_.emplace(flops); }
  /// Counts the cell's work as done, by this process or another.
  void skip(const Cell& cell) { advance(cell.flops(), *cell.job); }
  Progress& progress() { return *progress_; }

  /// Runs the cell and writes its row; returns false when it failed, and nothing when another process took it over
  /// meanwhile.  Keeps for `companions`, which this process holds, too, what they share with it.
  std::optional<bool> run(const Cell& cell, Claim& claim, const std::vector<HeldCell>& companions);

 private:
  struct TakenOver {};  ///< thrown where another process has the running cell

  /// Does everything that may fail the cell; stores in `row` at once what is known before the cell fails.
  Measured run_parts(const Cell& cell, Json& row);
  /// Returns everything that decides the cell's numbers, for `environment`.
  Json provenance_of(const Cell& cell);
  /// `check_held` is called before each part is kept and throws where the cell is another process's by then.
  std::unique_ptr<PartialCell> partial_of(const Job& job, const Json& environment,
                                          const std::function<void()>& check_held);
  /// Opens the stores of those companions that evaluate the last model.
  std::vector<CompanionCell> companions_of(const Cell& cell, const Llama& original);
  Measured evaluate_cell(const Cell& cell, const at::Device& device, PartialCell& partial);
  void advance(double flops, const Job& job, const std::string& part = "");

  Results results_;
  std::string experiment_;
  bool rerun_;
  std::optional<Progress> progress_;
  Models models_;
  double done_ = 0, begun_ = 0, running_ = 0;  ///< work of all cells, of the cells before this one, and of this one
  Claim* claim_ = nullptr;                     ///< of the running cell
  const std::vector<HeldCell>* companions_ = nullptr;  ///< of the running cell
  std::set<std::string> kept_;                         ///< ids of cells for which this run has kept parts
};

}  // namespace qroar
