// Expands `sweep:` into cells.  A block is the product of its axes, and the sweep is the union of its blocks; values
// may be maps.  `windows.lengths: [512, 1024]` is an innermost axis windows.length of every block.
#pragma once
#include "config/config.h"

namespace qroar {

/// One point of a sweep: the tree without `sweep`, and the value of each axis in the order of writing.
struct SweepPoint {
  Config config;
  std::vector<std::pair<std::string, Json>> axes;  ///< {"windows.length", 4096}
  std::string origin;                              ///< "file:line:column" of the block, or of the root without a sweep
};

/// Returns all points in file order.  Throws an Error (with place) for a block that is not a map, an axis that is empty
/// or not a list, the same value twice on an axis (an axis that changes nothing), and a product of more than 100,000
/// points.
std::vector<SweepPoint> expand(const Config& root);

}  // namespace qroar
