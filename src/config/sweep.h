// Expansion of `sweep:` into cells.  A block is a product of its axes, blocks are a union; values may be maps.
#pragma once
#include "config/config.h"

namespace qroar {

/// One point of a sweep: the tree without `sweep`, and the value of each axis in the order of writing.
struct SweepPoint {
  Config config;
  std::vector<std::pair<std::string, Json>> axes;  ///< {"windows.length", 4096}
  std::string origin;  ///< "file:line:column" of the block; the root's place without a sweep
};

/// All points in file order.  Errors (with place): a block that is no map, an axis that is no list or empty, the same
/// value twice on an axis (an axis that changes nothing), a product of more than 100,000 points.
std::vector<SweepPoint> expand(const Config& root);

}  // namespace qroar
