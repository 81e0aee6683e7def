// What rows differ in from those they are compared with: numbers, and the cells of a table that are made of them.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/paired.h"
#include "report/row_axes.h"

namespace qroar {

/// A difference, or why there is none: "baseline", "no baseline", "failed", "other windows", "other questions". Neither
/// where the row has no such values.
struct Comparison {
  std::optional<PairedDifference> value;
  std::string reason;
};

class Differences {
 public:
  /// `baselines`: one for each of the rows, or none at all.
  Differences(const Results& results, const std::vector<Json>& rows, const Baselines& baselines)
      : results_(results), rows_(rows), baselines_(baselines) {}

  bool empty() const { return baselines_.empty(); }
  /// Does a row have losses over windows, or the metric as a mean over all of a task's questions?
  bool has_text() const;
  bool is_over_questions(const std::string& metric);

  Comparison of_text(std::size_t row);
  Comparison of_task(std::size_t row, const std::string& metric);

  // ---- for people: figures with their errors, or the reason
  static inline const std::vector<std::string> kTextHeader{"Δnll", "95 % over documents", "ppl ratio",
                                                           "paired windows"};
  /// Nats, their interval over documents, and the ratio of perplexities exp(difference) with its error.
  std::vector<std::string> text_cells(std::size_t row);
  std::string task_cell(std::size_t row, const std::string& metric);

  // ---- for programs
  /// {baseline, nll: {difference, stderr, low, high, windows}, perplexity_ratio: {value, stderr}, tasks: {METRIC:
  /// {difference, stderr, questions}}}; `reason` instead of what is not compared.
  Json json(std::size_t row);
  /// One number a column, empty where there is none; `metrics`: those of the table.
  std::vector<std::string> csv_header(const std::vector<std::string>& metrics);
  std::vector<std::string> csv_cells(std::size_t row, const std::vector<std::string>& metrics);

 private:
  /// Says why nothing is compared, or is empty.
  std::string obstacle(std::size_t row) const;
  const std::vector<WindowRecord>& windows(const Json& row);
  const Scores& scores(const Json& row, const std::string& metric);

  const Results& results_;
  const std::vector<Json>& rows_;
  const Baselines& baselines_;
  std::map<std::string, std::vector<WindowRecord>> windows_;      // by id
  std::map<std::pair<std::string, std::string>, Scores> scores_;  // by id and metric
};

}  // namespace qroar
