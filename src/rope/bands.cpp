#include "rope/bands.h"

#include <fmt/format.h>

#include "base/error.h"

namespace qroar {

std::vector<int64_t> band_edges(int64_t pairs, int64_t bands) {
  check(bands >= 1 && bands <= pairs, "a band holds at least one pair");
  std::vector<int64_t> edges;
  for (int64_t band = 0; band <= bands; ++band) edges.push_back(band * pairs / bands);
  return edges;
}

BandsOption::BandsOption(const Config& config)
    : config_(config), count_(config.get<int64_t>("bands", 6, {1, 1'000'000})) {}

std::vector<int64_t> BandsOption::edges(int64_t pairs) const {
  if (count_ > pairs) {
    config_.fail(fmt::format("{} bands need as many RoPE pairs and head_dim {} has {}; take `bands: {}` or fewer",
                             count_, 2 * pairs, pairs, pairs));
  }
  return band_edges(pairs, count_);
}

}  // namespace qroar
