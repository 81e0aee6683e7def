#include "rope/bands.h"

#include "base/error.h"

namespace qroar {

std::vector<int64_t> band_edges(int64_t pairs, int64_t bands) {
  check(bands >= 1 && bands <= pairs, "a band holds at least one pair");
  std::vector<int64_t> edges;
  for (int64_t band = 0; band <= bands; ++band) edges.push_back(band * pairs / bands);
  return edges;
}

}  // namespace qroar
