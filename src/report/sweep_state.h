// The state of a running sweep, for observers.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "results/results.h"

namespace qroar {

/// The progress of the sweep that plan.json lists: counts, and a line for every cell that a process has; and all rows.
struct SweepState {
  std::vector<Json> rows;                        ///< of Results::rows()
  std::optional<std::set<std::string>> planned;  ///< ids; none where there is no plan
  int64_t cells = 0, done = 0, running = 0, failed = 0, waiting = 0;
  std::string text;  ///< empty where there is no plan

  bool is_finished() const { return running == 0 && waiting == 0 && failed == 0; }
};
SweepState sweep_state(const Results& results);

}  // namespace qroar
