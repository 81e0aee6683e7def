#include "rope/bands.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace qroar {

std::vector<int64_t> band_edges(int64_t pairs, int64_t bands) {
  check(bands >= 1 && bands <= pairs, "a band holds at least one pair");
  std::vector<int64_t> edges;
  for (int64_t band = 0; band <= bands; ++band) edges.push_back(band * pairs / bands);
  return edges;
}

void check_edges(const Config& place, const std::vector<int64_t>& edges) {
  if (edges.size() < 2 || edges.front() != 0)
    place.fail("expected the first pair of every band and the end, [0, ..., d/2]");
  const auto empty = std::ranges::adjacent_find(edges, std::greater_equal<>());
  if (empty != edges.end()) {
    place.fail(fmt::format("the band between {} and {} is empty; edges must rise", *empty, *(empty + 1)));
  }
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
