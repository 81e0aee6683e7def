// Bands of RoPE pairs: adjacent frequencies that are measured, and later scaled, together (docs/method.md 3.1).
#pragma once
#include <cstdint>
#include <vector>

#include "config/config.h"

namespace qroar {

/// Returns the edges of the bands: band b is pairs [edges[b], edges[b + 1]), and band 0 has the highest frequencies.
/// The bands have equal width in log omega of plain RoPE; as log omega_i falls linearly with i, they have the same
/// number of pairs, up to one.  Requires 1 <= bands <= pairs.
std::vector<int64_t> band_edges(int64_t pairs, int64_t bands);

/// Throws an Error at `place` unless the edges are the first pair of every band and the end, [0, ..., pairs], each
/// above the one before it.
void check_edges(const Config& place, const std::vector<int64_t>& edges);

/// The option `bands` (default 6): the number of bands.
class BandsOption {
 public:
  /// `config` is the block that contains the option.
  explicit BandsOption(const Config& config);
  /// Returns band_edges().  Throws an Error when there are fewer pairs than bands.
  std::vector<int64_t> edges(int64_t pairs) const;

 private:
  Config config_;
  int64_t count_;
};

}  // namespace qroar
