// What a metric averages, summed by cluster: by document or group of documents, or by question (docs/method.md 5).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/interval.h"
#include "data/token_file.h"
#include "data/windows.h"

namespace qroar {

/// The metric is its link (MetricValue) of the sum of sums over the sum of weights.
struct ScoredCluster {
  std::string group;
  std::string scored;  ///< hash of its units in order, so that rows are compared only where they scored the same
  double sum = 0, weight = 0;
};

/// Adds units up by their cluster; the order of the clusters is that of their first units.
class ByCluster {
 public:
  /// `unit` names what was scored; a unit without weight is none.
  void add(const std::string& group, const std::string& unit, double sum, double weight);
  const std::vector<ScoredCluster>& all() const { return clusters_; }

 private:
  std::vector<ScoredCluster> clusters_;
  std::map<std::string, std::size_t> place_;  ///< by group
};

/// Adds up windows, whose documents and aggregate are known later.
class WindowsByCluster {
 public:
  /// `tokens`: how many of the window's tokens are in the sum.
  void add(const Window& window, int64_t tokens, double sum) { windows_.push_back({window, tokens, sum}); }
  /// Returns the clusters of the documents' groups, where windows or documents are averaged with a weight of 1 each.
  std::vector<ScoredCluster> all(const std::vector<Document>& documents, Aggregate aggregate = Aggregate::tokens) const;

 private:
  struct Part {
    Window window;
    int64_t tokens;
    double sum;
  };
  std::vector<Part> windows_;
};

/// Returns the mean over clusters with its interval, given this rounding.
Estimate estimate(const std::vector<ScoredCluster>& clusters, Averaged averaged = Averaged::anything);

}  // namespace qroar
