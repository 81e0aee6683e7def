// The part of a cell that scores windows of text.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "eval/evaluate.h"
#include "results/partial.h"
#include "run/cell.h"
#include "run/measured.h"
#include "run/models.h"

namespace qroar {

/// Another cell of the same model that this process holds (run/shared_passes.h), and where its parts are kept.
struct CompanionCell {
  const Cell& cell;
  AnglesOf angles_of;
  std::unique_ptr<WindowStore> store;
};

/// Scores the cell's windows with the last model of `models`, and those windows of the companions that are beginnings
/// of them.  `partial` is the cell's own.
Measured measure_windows(const Cell& cell, Models& models, const Llama& model, const AnglesOf& angles_of,
                         PartialCell& partial, const std::vector<CompanionCell>& companions, const Advance& advance);

}  // namespace qroar
