// Estimates over the clusters and rounding draws of rows: the value of one row, the difference of two, the difference
// of two differences.  All of them are sums of rows with factors, computed in one place (docs/method.md 5).
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/interval.h"
#include "results/results.h"

namespace qroar {

/// A row as tables show it: the cells that differ in nothing but their rounding draw, as one.
struct Term {
  double factor;
  const Json* row;  ///< null where there is no such row
};

/// The reason of an effect whose sweep has no row to compare with.
inline constexpr const char* kNotRun = "not run";

/// An estimate, or why there is none, such as kNotRun, "failed", "other draws", "other windows".
struct Effect {
  std::optional<Estimate> value;
  std::string reason;
  bool survives = false;  ///< see mark_survivors()
};

/// Marks those of a table's comparisons that survive Benjamini and Hochberg's procedure at 5 % among all of them, and
/// returns "3 of 12 comparisons survive Benjamini-Hochberg at 5 % (*)".  Rows that are equal to the bit are no
/// comparison (Estimate::is_of_equals()).
std::string mark_survivors(const std::vector<Effect*>& effects);

/// Reads clusters.csv of each cell once.
class Effects {
 public:
  /// Rows: all of the folder's, whose metrics their clusters must have.
  Effects(const Results& results, const std::vector<Json>& rows);

  /// Returns the row of a cell, in its own rounding draw; null where there is none.
  const Json* cell(const std::string& id) const;

  /// Returns sum factor * row of a metric over the clusters and draws that all rows share, in the same draws. Rows that
  /// are subtracted must have scored the same in all clusters; differences may be subtracted over other windows of the
  /// same documents, such as what a format costs at one length from what it costs at another.  A row of float32 that
  /// rounds nothing stands, in one draw, for all of them: a draw leaves its function as it is.
  Effect of(const std::vector<Term>& terms, const std::string& metric);

  /// Returns the mean of several such sums, which stand for more of their kind (random directions), for new clusters,
  /// new draws and new ones of that kind.
  Effect mean_of(const std::vector<std::vector<Term>>& sums, const std::string& metric);

  /// Returns the metrics that the row has clusters for, also those of curves ("nll_by_position/0-128").
  std::vector<std::string> metrics(const Json& row);

 private:
  struct Cluster {
    std::string group, scored;
    double weight = 0;
    std::vector<double> sum_R;
  };
  /// The clusters of a row by metric, over its draws; `reason` where they have none or do not fit together.
  struct Clusters {
    std::string reason;
    std::vector<std::string> names;  ///< of metrics, in the file's order
    std::map<std::string, std::vector<Cluster>> of;
  };
  const Clusters& clusters(const Json& row);
  /// Returns the clusters of a term's row, or why there are none.
  std::pair<const std::vector<Cluster>*, std::string> measured(const Term& term, const std::string& metric,
                                                               const std::vector<int64_t>& draws);

  /// The sum of those terms whose rows scored the same.
  struct Part {
    const std::vector<Cluster>* scored;
    double factor;  ///< of all its terms; 0 for a difference
    std::vector<ClusterSums> sums;
  };
  /// Returns the sum of the parts' means as one mean over clusters of equal weight: each cluster contributes the mean
  /// and its own influence on it (linearization of a ratio; Cochran 1977, 6.4).
  static std::vector<ClusterSums> joined(const std::vector<Part>& parts);
  Clusters read(const Json& row) const;
  /// Returns the clusters' sums of the terms, or why there are none.
  std::pair<std::vector<ClusterSums>, std::string> sums_of(const std::vector<Term>& terms, const std::string& metric);

  const Results& results_;
  std::map<std::string, const Json*> cells_;  ///< the folder's rows, by id
  std::map<std::string, Clusters> known_;     ///< by the row's id
};

/// Returns whether a metric is a task's, which averages answers to questions.
bool is_of_task(const std::string& metric);

/// Returns the draws of a row of tables: its own, or those that it is the mean of.
std::vector<int64_t> draws_of(const Json& row);

}  // namespace qroar
