// The gain of a search of scales compared with its controls.
#pragma once
#include <string>
#include <vector>

#include "results/results.h"

namespace qroar {

/// A comparison of a search with its controls: a difference of mean NLL (nats per token) and half of its 95 % interval
/// (Student's t over paired windows), or the reason why there is none: a control has not run, or failed.
struct ControlComparison {
  std::string name;  ///< "quantized, found g", "gain beyond full precision" ...
  double difference = 0;
  double reach = 0;  ///< NaN for one window
  std::string reason;
};

/// Returns whether the row is of a search that has controls.
bool has_controls(const Json& row);

/// Returns the comparisons of a searched row with its controls among `rows`.
std::vector<ControlComparison> compare_controls(const Results& results, const std::vector<Json>& rows, const Json& row);

/// Returns the comparisons of every search as a table; empty where no row was searched.
std::string show_controls(const Results& results, const std::vector<Json>& rows, const std::string& format);

}  // namespace qroar
