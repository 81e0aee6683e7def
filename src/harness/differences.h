// What rows differ in from those they are compared with, as cells of a table.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "harness/row_axes.h"
#include "harness/show.h"

namespace qroar {

class Differences {
 public:
  /// `baselines`: one for each of the rows, or none at all.
  Differences(const Results& results, const std::vector<Json>& rows, const Baselines& baselines)
      : results_(results), rows_(rows), baselines_(baselines) {}

  bool empty() const { return baselines_.empty(); }

  static inline const std::vector<std::string> kTextHeader{"Δnll", "95 % over documents", "ppl ratio",
                                                           "paired windows"};
  /// Nats, their interval over documents, and the ratio of perplexities exp(difference) with its error; what stands in
  /// the way where there is none.
  std::vector<std::string> of_text(std::size_t row);

  /// Is the metric a mean over all of a task's questions, in any row?
  bool is_over_questions(const std::string& metric);
  /// The difference of such a metric over the same questions.
  std::string of_task(std::size_t row, const std::string& metric);

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
