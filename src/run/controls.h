// The controls that every search is printed with (docs/method.md 4.5): the papers leave out that scales help the
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

/// The controls of a point whose scales are searched: full precision without and with the scales that are found under
/// the point's quantization, the point with scales of 1, and with random scales of the same norm.  For a point in
/// full precision the last two; none for a point that is such a control itself.
/// No control exports a model.
std::vector<NamedPoint> controls_of(const SweepPoint& point);

/// The blocks that controls change and that are no axis of the point, with its own values: what tells it from them in a
/// table.
std::vector<std::pair<std::string, Json>> axes_beside_controls(const SweepPoint& searched);

}  // namespace qroar
