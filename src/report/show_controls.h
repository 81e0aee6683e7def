// The gain of a search of scales compared with its controls.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "report/effects.h"
#include "report/table.h"

namespace qroar {

/// A comparison of a search with its controls: a difference of mean NLL, nats per token.
struct ControlComparison {
  std::string name;  ///< "quantized, found g", "gain beyond full precision" ...
  Effect effect;
};

/// The comparisons of all searched rows, marked among each other (mark_survivors()).
struct ControlComparisons {
  std::map<std::string, std::vector<ControlComparison>> of;  ///< by the searched row's id
  std::string count;                                         ///< how many of them survive
};

/// Compares every searched row with its controls among `rows`.
ControlComparisons compare_controls(Effects& effects, const std::vector<Json>& rows);

/// Returns the comparisons of every search as a table; without rows where no row was searched.
Table controls_table(Effects& effects, const std::vector<Json>& rows);

}  // namespace qroar
