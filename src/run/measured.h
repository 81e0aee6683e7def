// The results of a cell.
#pragma once
#include <vector>

#include "eval/metric.h"
#include "results/results.h"

namespace qroar {

struct Measured {
  Json row = {{"metrics", Json::object()}};  ///< members of the row
  CellOutput output;                         ///< the files beside the row

  /// Adds values to `metrics` and their clusters to the output.  Throws an Error for a value that is not a number.
  void add(const std::vector<MetricValue>& values, Averaged averaged = Averaged::anything);
  void add_clusters(const std::vector<MetricValue>& values);
  void add(Measured more);
};

}  // namespace qroar
