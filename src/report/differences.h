// The differences between rows and their baselines: numbers, and the table cells made from them.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/paired.h"
#include "report/row_axes.h"

namespace qroar {

/// A difference, or the reason why there is none: "baseline", "no baseline", "failed", "other windows", "other
/// questions". Neither where the row has no such values.
struct Comparison {
  std::optional<PairedDifference> value;
  std::string reason;
};

class Differences {
 public:
  /// `baselines`: one for each row, or none at all.
  Differences(const Results& results, const std::vector<Json>& rows, const Baselines& baselines)
      : results_(results), rows_(rows), baselines_(baselines) {}

  bool empty() const { return baselines_.empty(); }
  /// Returns whether any row has losses over windows, or the metric as a mean over all of a task's questions.
  bool has_text() const;
  bool is_over_questions(const std::string& metric);

  Comparison of_text(std::size_t row);
  Comparison of_task(std::size_t row, const std::string& metric);

  // ---- for people: values with their errors, or the reason
  static inline const std::vector<std::string> kTextHeader{"Δnll", "95 % over documents", "ppl ratio",
                                                           "paired windows"};
  /// Returns nats, their interval over documents, and the ratio of perplexities exp(difference) with its error.
  std::vector<std::string> text_cells(std::size_t row);
  std::string task_cell(std::size_t row, const std::string& metric);

  // ---- for programs
  /// Returns {baseline, nll: {difference, stderr, low, high, windows}, perplexity_ratio: {value, stderr}, tasks:
  /// {METRIC: {difference, stderr, questions}}}, with `reason` in the place of what is not compared.
  Json json(std::size_t row);
  /// Returns one column per number, whose cells are empty where there is none; `metrics`: those of the table.
  std::vector<std::string> csv_header(const std::vector<std::string>& metrics);
  std::vector<std::string> csv_cells(std::size_t row, const std::vector<std::string>& metrics);

 private:
  /// Returns why nothing is compared; empty where something is.
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
