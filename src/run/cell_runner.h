// Runs one cell after the other: model, windows, tasks, diagnostics, row.
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "base/progress.h"
#include "results/claims.h"
#include "results/partial.h"
#include "results/results.h"
#include "run/cell.h"
#include "run/models.h"

namespace qroar {

class CellRunner {
 public:
  /// `rerun`: nothing of earlier runs is used.
  CellRunner(Results results, std::string experiment, bool rerun)
      : results_(std::move(results)), experiment_(std::move(experiment)), rerun_(rerun) {}

  /// Does a finished row stand for this cell with the very inputs of now?
  bool is_finished(const Cell& cell, const std::optional<Json>& row);

  /// Hashes of the contents that the configuration only names by path; an Error where they are damaged.
  Json inputs_of(const Cell& cell);

  /// So much work is to come, for the time that is left.
  void expect(double flops) { progress_.emplace(flops); }
  /// The cell's work is done, by this process or another.
  void skip(const Cell& cell) { advance(cell.flops(), *cell.job); }
  Progress& progress() { return *progress_; }

  /// Runs the cell and writes its row; false when it failed, nothing when another process took it over meanwhile.
  std::optional<bool> run(const Cell& cell, Claim& claim);

 private:
  /// What is measured: members of the row, `metrics` among them, and what lies beside the row.
  struct Measured {
    Json row;
    CellOutput output;

    void add(Measured more);
  };

  /// All that may fail the cell; what is known of the cell before it is in `row` at once.
  Measured run_parts(const Cell& cell, Json& row);
  /// What decides the cell's numbers, for `environment`.
  Json provenance_of(const Cell& cell);
  Measured evaluate_cell(const Cell& cell, const at::Device& device, PartialCell& partial);
  Measured score_windows(const Cell& cell, const Llama& model, const AnglesOf& angles_of, PartialCell& partial);
  Measured run_tasks(const Cell& cell, const Llama& model, const TableOf& table_of, const AnglesOf& angles_of,
                     PartialCell& partial);
  std::map<std::string, CsvTable> diagnose(const Cell& cell, const Llama& model, const AnglesOf& angles_of);
  void advance(double flops, const Job& job, const std::string& part = "");

  Results results_;
  std::string experiment_;
  bool rerun_;
  std::optional<Progress> progress_;
  Models models_;
  double done_ = 0, begun_ = 0, running_ = 0;  ///< work of all cells, of those before this one, and of this one
  Claim* claim_ = nullptr;                     ///< on the cell that is running
};

}  // namespace qroar
