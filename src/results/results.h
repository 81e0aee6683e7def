// The results folder: DIR/cells/<id>/{row.json, windows.csv, clusters.csv, search.csv, scales.json, resolved.yaml,
// log.txt, diagnostics/<type>.csv, metrics/<curve>.csv, tasks/<name>.csv}, DIR/plan.json and the derived
// DIR/rows.jsonl. row.json is written last and atomically, so a cell without it counts as not run, whenever the process
// died. Its `metrics` is {name: {value, stderr, count, ...}} (docs/results.md), {} where the cell has none.  JSON has
// no infinity: `value` is null where it exceeds double (a perplexity whose `nll` is above 709.78 nats); it is never
// NaN, which fails the cell. `stderr` is null there, too, and where one sample gives none.
//
// A folder belongs to one experiment, identified by the file that plan.json names.  Cells that the plan no longer lists
// (a value of the sweep was edited, --set differed) stay, and so do their rows in rows.jsonl, which contains all cells
// for programs that count its lines; tables and reports leave them out.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/csv.h"
#include "base/statistics.h"
#include "config/config.h"
#include "results/clusters.h"

namespace qroar {

/// The output of a search: search.csv, scales.json (which `rescale: {type: bands, file: ...}` reads) and the row's
/// `search`.
struct SearchOutput {
  CsvTable history;
  Json scales, summary;
};

/// What windows.csv stores for a window; two cells are compared window by window.
struct WindowRecord {
  std::string document;
  int64_t start = 0;
  Moments nll;          ///< of its scored tokens, nats
  std::string group{};  ///< its document's
};

/// The output of a finished cell beside its row; empty for a failed cell.
struct CellOutput {
  std::vector<WindowRecord> windows;
  std::vector<ClusterRecord> clusters;
  std::optional<SearchOutput> search;
  std::map<std::string, CsvTable> diagnostics;  ///< by type
  std::map<std::string, CsvTable> curves;       ///< of metrics, by name
  std::map<std::string, CsvTable> tasks;        ///< by name
};

/// A cell as plan.json lists it.
struct PlannedCell {
  std::string id;
  Json axes;
  double flops;  ///< see Cell::flops()
};

class Results {
 public:
  explicit Results(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path cell(const std::string& id) const { return folder_ / "cells" / id; }

  /// Returns the cell's row, or nothing when it has none.  A file that this program did not write, or that was changed
  /// since in a way that shows, is a warning and a row of status "damaged" with the problem as its error.
  std::optional<Json> row(const std::string& id) const;

  /// Creates the cell's folder.  Throws an Error where it or one below is a link: see check_no_link().
  void make_cell_folder(const std::string& id) const;

  /// Writes windows.csv, clusters.csv, diagnostics and curves (removing those of an earlier run that no longer exist),
  /// resolved.yaml and then row.json.  Throws an Error on any failed write.
  void write(const Json& row, const CellOutput& output) const;

  /// Returns every row: those of cells that plan.json does not list, ordered by start time, then the others in its
  /// order and with its axes and experiment: another experiment may have run them, or names were given since. Throws an
  /// Error when the folder has neither cells nor a plan.
  std::vector<Json> rows() const;

  /// Throws an Error when the folder belongs to an experiment other than that of the absolute path `file`, except when
  /// the folder's own file no longer exists: it was moved, or has another path on this machine.
  void check_owner(const std::filesystem::path& file) const;
  /// Writes plan.json, the planned cells and their experiment, for observers; writes only when it changed.  Checks the
  /// owner.
  void write_plan(const std::filesystem::path& file, const std::vector<PlannedCell>& cells) const;
  /// Returns {experiment, file, cells: [{id, axes, flops}]}, or nothing where no run has written it; throws an Error
  /// for a damaged file.
  std::optional<Json> plan() const;

  /// Rewrites rows.jsonl from the cells; returns its rows.
  std::vector<Json> derive_rows_file() const;

 private:
  /// Returns a hash of what rows() reads.
  std::string hash_of_cells() const;

  std::filesystem::path folder_;
};

/// Returns the label of an axis value in tables and plots, such as "yarn", "linear ×2", "rtn W4 g64", "4096"; `bits_of`
/// precedes numbers of bits.
std::string axis_label(const Json& value, char bits_of = 'W');

}  // namespace qroar
