// The tables of a results folder.
#pragma once
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "results/results.h"

namespace qroar {

struct ShowOptions {
  std::string format = "table";  ///< table, csv, markdown, latex or json
  /// What rows are compared with in pairs; may be empty.  The id (or its beginning) of one row, or AXIS=LABEL
  /// ("quant=none"): each row's own baseline is then the row whose configuration differs from it in that alone.
  std::string baseline;
  std::optional<std::set<std::string>> planned;  ///< ids of the cells of the plan, where there is one
  bool all = false;                              ///< also show rows of other cells, and mark them
};

/// The rows as text.  table, markdown and latex put windows.length into columns when the rows form such a grid; csv and
/// json are flat and complete.  Whatever tells rows apart and is no axis of theirs is a column like one (in json: a
/// row's `differs`).  With a baseline every row gets its difference in mean NLL over the same windows and in each
/// task's values over the same questions, with paired standard errors (in json: a row's `paired`, see
/// Differences::json).
std::string show(const Results& results, const std::vector<Json>& rows, const ShowOptions& options);

/// That so many rows are left out, since the plan no longer has their cells, and how to see them.
std::string left_out_note(std::size_t rows);

/// How far the sweep is that plan.json lists: counts, and a line for every cell that a process has.
struct SweepState {
  int64_t cells = 0, done = 0, running = 0, failed = 0, waiting = 0;
  std::string text;  ///< empty where there is no plan

  bool is_finished() const { return running == 0 && waiting == 0 && failed == 0; }
};
SweepState sweep_state(const Results& results);

/// Difference of mean NLL (a - b, nats per token) over windows that both rows scored, with the standard error of that
/// difference.  Windows are the independent units: what makes a window hard is common to both rows and cancels, as in
/// llama.cpp's perplexity tool.
struct PairedDifference {
  double difference = 0;
  double standard_error = 0;  ///< NaN for a single window
  int64_t windows = 0;
  /// 95 % interval of the difference by bootstrap over documents: percentiles of 10,000 draws with a fixed seed.  What
  /// differs from document to document is in it, which windows taken as independent leave out.  NaN for one document.
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;
};
PairedDifference paired_difference(const std::vector<WindowRecord>& a, const std::vector<WindowRecord>& b);

/// What every question of a task counts for a metric such as "arc_easy/acc", beside its name, in the order of
/// tasks/arc_easy.csv; empty where the metric is no mean over all questions, or the row has none of them.
using Scores = std::vector<std::pair<std::string, double>>;
Scores question_scores(const Results& results, const Json& row, const std::string& metric);

/// The same of values that are means over questions, which are the units; windows is the number of questions, 0 where
/// they differ.
PairedDifference paired_difference(const Scores& a, const Scores& b);

/// Of every search its gain beside its controls: differences of mean NLL with 95 % intervals (Student's t over paired
/// windows).  Empty where no row was searched; a control that has not run, or failed, is named.
std::string show_controls(const Results& results, const std::vector<Json>& rows, const std::string& format);

}  // namespace qroar
