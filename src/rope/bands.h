// Bands of RoPE pairs: neighbouring frequencies that are measured, and later scaled, together (docs/method.md 3.1).
#pragma once
#include <cstdint>
#include <vector>

#include "config/config.h"

namespace qroar {

/// Band b is pairs [edges[b], edges[b + 1]), band 0 the highest frequencies.  Equal in log omega of plain RoPE, whose
/// log omega_i falls linearly with i: so equal in pairs, up to one.  Needs 1 <= bands <= pairs.
std::vector<int64_t> band_edges(int64_t pairs, int64_t bands);

/// The option `bands` (default 6): into how many bands the pairs are grouped.
class BandsOption {
 public:
  /// `config` is the block that has it.
  explicit BandsOption(const Config& config);
  /// band_edges(); an Error when there are fewer pairs than bands.
  std::vector<int64_t> edges(int64_t pairs) const;

 private:
  Config config_;
  int64_t count_;
};

}  // namespace qroar
