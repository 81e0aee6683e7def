#include "search/space.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace qroar {

SearchSpace search_space(const SearchSpec& spec, const BandLayout& layout, const BandGuide& guide) {
  const std::vector<double> grid = spec.grid.values();
  const auto half = static_cast<int64_t>(grid.size() / 2);
  SearchSpace space;
  space.values.assign(static_cast<std::size_t>(layout.size()), grid);
  space.order.resize(space.size());
  const std::vector<double>& weight = guide.sensitivity.empty() ? guide.pressure : guide.sensitivity;
  if (weight.empty()) {
    std::iota(space.order.rbegin(), space.order.rend(), std::size_t{0});
    return space;
  }
  const auto inflation = [&](std::size_t i) { return guide.inflation.empty() ? 1 : guide.inflation[i]; };
  const double most = std::ranges::max(weight);
  for (std::size_t i = 0; i < space.size(); ++i) {
    const double kept = most > 0 ? 1 - spec.narrow * weight[i] / most : 1;
    const int64_t steps = std::max<int64_t>(1, std::llround(kept * static_cast<double>(half)));
    const int64_t above = inflation(i) > 1 + spec.tolerance ? 0 : steps;
    space.values[i] = {grid.begin() + (half - steps), grid.begin() + (half + above + 1)};
  }
  std::iota(space.order.begin(), space.order.end(), std::size_t{0});
  std::ranges::stable_sort(space.order, std::greater<>(), [&](std::size_t i) { return inflation(i) * weight[i]; });
  return space;
}

}  // namespace qroar
