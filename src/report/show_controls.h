// The gain of a search of scales compared with its controls.
#pragma once
#include <string>
#include <vector>

#include "report/effects.h"

namespace qroar {

/// A comparison of a search with its controls: a difference of mean NLL, nats per token.
struct ControlComparison {
  std::string name;  ///< "quantized, found g", "gain beyond full precision" ...
  Effect effect;
};

/// Returns whether the row is of a search that has controls.
bool has_controls(const Json& row);

/// Returns the comparisons of a searched row with its controls among `rows`.
std::vector<ControlComparison> compare_controls(Effects& effects, const std::vector<Json>& rows, const Json& row);

/// Returns the comparisons of every search as a table; empty where no row was searched.
std::string show_controls(Effects& effects, const std::vector<Json>& rows, const std::string& format);

}  // namespace qroar
