// The results folder: DIR/cells/<id>/{row.json, windows.csv, search.csv, scales.json, resolved.yaml, log.txt,
// diagnostics/<type>.csv, metrics/<curve>.csv, tasks/<name>.csv}, DIR/plan.json and the derived DIR/rows.jsonl.
// row.json comes last and atomically, so a cell without it never happened, whenever the process died.
// Its `metrics` is {name: {value, stderr, count}}, {} where the cell has none.  JSON has no infinity: `value` is null
// where it is beyond double (a perplexity whose `nll` is above 709.78 nats); it is never NaN, which fails the cell.
// `stderr` is null there, too, and where one sample gives none.
//
// A folder belongs to one experiment, by the file that plan.json names.  Cells that the plan lists no more (a value of
// the sweep was edited, --set was another one) stay, and so do their rows in rows.jsonl, which is all cells for
// programs that count its lines; tables and reports leave them out.
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

namespace qroar {

/// What a search leaves: search.csv, scales.json (which `rescale: {type: bands, file: ...}` reads) and the row's
/// `search`.
struct SearchOutput {
  CsvTable history;
  Json scales, summary;
};

/// What windows.csv keeps of a window; two cells are compared window by window.
struct WindowRecord {
  std::string document;
  int64_t start = 0;
  Moments nll;  ///< over its scored tokens, nats
};

/// What a finished cell leaves beside its row; empty for a failed one.
struct CellOutput {
  std::vector<WindowRecord> windows;
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

  /// The cell's row, or nothing when it has none; an Error when it is no JSON, or not what this program writes.
  std::optional<Json> row(const std::string& id) const;

  /// Writes windows.csv, diagnostics and curves (removing those of an earlier run that are no longer there),
  /// resolved.yaml and then row.json.  An Error on any failed write.
  void write(const Json& row, const CellOutput& output) const;

  /// Every row: those of cells that plan.json does not list, ordered by when they started, then the others in its
  /// order. An Error when the folder has neither cells nor a plan.
  std::vector<Json> rows() const;

  /// An Error when the folder belongs to another experiment than that of the absolute path `file`.  It does not where
  /// its own is no longer there: that was moved, or this machine has it elsewhere.
  void check_owner(const std::filesystem::path& file) const;
  /// plan.json: what cells of whose there are to be, for whoever looks on; written only where it changed.  Checks the
  /// owner.
  void write_plan(const std::filesystem::path& file, const std::vector<PlannedCell>& cells) const;
  /// {experiment, file, cells: [{id, axes, flops}]}, or nothing where no run has written it.
  std::optional<Json> plan() const;
  /// The ids in it.
  std::optional<std::set<std::string>> planned() const;

  /// Rewrites rows.jsonl from the cells.
  void derive_rows_file() const;

 private:
  std::filesystem::path folder_;
};

std::vector<WindowRecord> read_windows(const std::filesystem::path& file);

/// "yarn", "linear ×2", "rtn W4 g64", "4096": what tables and plots call the value of an axis; `bits_of` stands before
/// numbers of bits.
std::string axis_label(const Json& value, char bits_of = 'W');

}  // namespace qroar
