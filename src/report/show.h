// The tables of a results folder.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "results/results.h"

namespace qroar {

/// For people: table, markdown, latex.  For programs: csv, json, and pgfplots, lm_eval and eee for those of that name.
inline const std::vector<std::string> kShowFormats{"table", "csv",      "markdown", "latex",
                                                   "json",  "pgfplots", "lm_eval",  "eee"};

struct ShowOptions {
  std::string format = "table";  ///< one of kShowFormats
  /// The baseline of paired comparisons; may be empty.  The id (or its beginning) of one row, or AXIS=LABEL
  /// ("quant=none"): each row's baseline is then the row whose configuration differs from it in that alone.
  std::string baseline;
  std::string interaction;  ///< "AXIS,AXIS": shows that in place of the rows (report/interaction.h); may be empty
  bool draws = false;       ///< shows every rounding draw instead of the mean over them
  std::optional<std::set<std::string>> planned;  ///< ids of the cells of the plan, where there is one
  bool all = false;                              ///< also show rows of cells outside the plan, and mark them
};

/// Returns the rows as text, each a mean over its rounding draws.  table, markdown and latex put windows.length into
/// columns when the rows form such a grid; csv and json are flat and complete.  Each difference between rows that is
/// not an axis becomes a column like one (in json: a row's `differs`).  With a baseline, every row gets its differences
/// over the same windows and questions (in json: a row's `paired`, see Differences::json).
std::string show(const Results& results, const std::vector<Json>& rows, const ShowOptions& options);

/// Returns a note that `rows` rows are left out, since the plan no longer has their cells, and how to show them.
std::string left_out_note(std::size_t rows);

}  // namespace qroar
