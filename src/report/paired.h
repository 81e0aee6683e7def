// Paired comparisons of two rows: over the same windows, or over the same questions.
#pragma once
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "results/results.h"

namespace qroar {

/// Difference of mean NLL (a - b, nats per token) over the windows that both rows scored, with the standard error of
/// that difference.  Windows are the independent units: the difficulty of a window is common to both rows and cancels,
/// as in llama.cpp's perplexity tool.
struct PairedDifference {
  double difference = 0;
  double standard_error = 0;  ///< NaN for a single window
  int64_t windows = 0;
  /// 95 % interval of the difference by bootstrap over documents: percentiles of 10,000 draws with a fixed seed.  It
  /// includes the variation between documents, which treating windows as independent ignores.  NaN for one document.
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;
};
PairedDifference paired_difference(const std::vector<WindowRecord>& a, const std::vector<WindowRecord>& b);

/// The score of every question of a task for a metric such as "arc_easy/acc", with the question's name, in the order of
/// tasks/arc_easy.csv; empty where the metric is not a mean over all questions, or the row does not have it.
using Scores = std::vector<std::pair<std::string, double>>;
Scores question_scores(const Results& results, const Json& row, const std::string& metric);

/// Does the same for values that are means over questions, which are the units; `windows` is the number of questions,
/// or 0 where the questions differ.
PairedDifference paired_difference(const Scores& a, const Scores& b);

}  // namespace qroar
