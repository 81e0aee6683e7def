// The differences between rows and their baselines: numbers, and the table cells made from them.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "report/effects.h"
#include "report/row_axes.h"

namespace qroar {

/// All comparisons of a table, each with its interval and the smallest effect that it can detect; those that survive
/// Benjamini and Hochberg's procedure among all of them are marked.
class Differences {
 public:
  /// `baselines`: one for each row, or none at all.
  Differences(Effects& effects, const std::vector<Json>& rows, const Baselines& baselines);

  bool empty() const { return baselines_.empty(); }
  /// Returns the metrics that are compared: means (not their exponentials) over documents or questions.
  const std::vector<std::string>& metrics() const { return metrics_; }
  /// Returns the number of comparisons with an interval, and how many of them survive.
  const std::string& count_text() const { return count_; }

  // ---- for people: values with their intervals, or the reason
  /// Returns the columns of a metric, and a row's cells in them: difference, smallest detectable effect, and for `nll`
  /// the ratio of perplexities.
  std::vector<std::string> header(const std::string& metric) const;
  std::vector<std::string> cells(std::size_t row, const std::string& metric) const;

  // ---- for programs
  /// Returns {baseline, nll: {difference, stderr, low, high, detectable, p_value, survives, clusters, draws},
  /// perplexity_ratio: {value, low, high}, tasks: {METRIC: like nll}}, with `reason` in the place of what is not
  /// compared.
  Json json(std::size_t row) const;
  /// Returns one column per number, whose cells are empty where there is none.
  std::vector<std::string> csv_header() const;
  std::vector<std::string> csv_cells(std::size_t row) const;

 private:
  /// Returns why nothing of the row is compared; empty where something is.
  std::string obstacle(std::size_t row) const;
  const Effect* find(std::size_t row, const std::string& metric) const;

  const std::vector<Json>& rows_;
  const Baselines& baselines_;
  std::vector<std::string> metrics_;
  std::map<std::pair<std::size_t, std::string>, Effect> effects_;
  std::string count_;
};

/// Returns of an effect with a value {value, stderr, low, high, detectable, p_value, survives, clusters, draws} with
/// null for what there is not, the value under the name `value_key`.
Json effect_json(const Effect& effect, const char* value_key);

/// Returns the same numbers for CSV, empty where there is none: value, low, high, stderr, detectable, p, survives,
/// clusters, draws.
std::vector<std::string> effect_csv(const Effect& effect);
inline const std::vector<std::string> kEffectColumns{"",   "_low",      "_high",     "_stderr", "_detectable",
                                                     "_p", "_survives", "_clusters", "_draws"};

}  // namespace qroar
