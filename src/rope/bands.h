// Bands of RoPE pairs: neighbouring frequencies that are measured, and later scaled, together (method.md section 4).
#pragma once
#include <cstdint>
#include <vector>

namespace qroar {

/// Band b is pairs [edges[b], edges[b + 1]), band 0 the highest frequencies.  Equal in log omega of plain RoPE, whose
/// log omega_i falls linearly with i: so equal in pairs, up to one.  Needs 1 <= bands <= pairs.
std::vector<int64_t> band_edges(int64_t pairs, int64_t bands);

}  // namespace qroar
