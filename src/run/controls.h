// The controls that every search is printed with (docs/method.md 4.5): the papers do not mention that scales help the
// full-precision model, too.  They are ordinary cells of the same sweep.
#pragma once
#include <string>
#include <vector>

#include "config/sweep.h"

namespace qroar {

struct NamedPoint {
  std::string name;
  SweepPoint point;
};

/// Returns the controls of a point whose scales are searched: full precision without scales, full precision with the
/// scales that are found under the point's quantization, the point with scales of 1, with one temperature searched at
/// the same cost, and with several draws of random scales of the same norm.  A point in full precision lacks the first
/// two; none for a point that is such a control itself.  No control exports a model.
std::vector<NamedPoint> controls_of(const SweepPoint& point);

/// Returns the blocks that controls change and that are not axes of the point, with the point's own values, which
/// distinguish it from its controls in a table.
std::vector<std::pair<std::string, Json>> control_block_axes(const SweepPoint& searched);

}  // namespace qroar
