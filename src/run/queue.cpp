#include "run/queue.h"

#include <algorithm>
#include <numeric>

namespace qroar {

std::optional<std::size_t> next_cell(const std::vector<CellState>& states, std::optional<std::size_t> last) {
  const auto is_open = [&](std::size_t i) { return i < states.size() && states[i] == CellState::open; };
  if (last && is_open(*last + 1)) return *last + 1;
  std::size_t first = 0, longest = 0;
  for (std::size_t begin = 0; begin < states.size(); ++begin) {
    std::size_t end = begin;
    while (is_open(end)) ++end;
    if (end - begin > longest) {
      first = begin;
      longest = end - begin;
    }
    if (end > begin) begin = end;
  }
  if (longest == 0) return std::nullopt;
  const bool another_comes = first > 0 && states[first - 1] == CellState::held;
  return another_comes ? first + longest / 2 : first;
}

std::vector<std::pair<std::size_t, std::size_t>> pack(const std::vector<double>& costs,
                                                      const std::vector<double>& joined, std::size_t parts) {
  // Returns the fewest parts that each cost at most `most`, or nothing where a part must cost more.
  const auto cut = [&](double most) {
    const std::size_t none = costs.size() + 1;
    std::vector<std::size_t> fewest(costs.size() + 1, none), begins(costs.size() + 1);
    fewest[0] = 0;
    for (std::size_t end = 1; end <= costs.size(); ++end) {
      double sum = 0;
      for (std::size_t begin = end; begin-- > 0;) {
        sum += costs[begin];
        if (sum > most) break;
        if (sum + joined[begin] > most || fewest[begin] + 1 >= fewest[end]) continue;
        fewest[end] = fewest[begin] + 1;
        begins[end] = begin;
      }
    }
    std::vector<std::pair<std::size_t, std::size_t>> cuts;
    if (fewest.back() < none)
      for (std::size_t end = costs.size(); end > 0; end = begins[end]) cuts.emplace_back(begins[end], end);
    std::ranges::reverse(cuts);
    return cuts;
  };
  if (costs.empty()) return {};
  // Bisects between a cost that is certainly too small and that of a single part (slightly increased, since sums in
  // another order differ), up to a thousandth of a part's share.
  double low = 0, high = 1.000001 * std::accumulate(costs.begin(), costs.end(), joined.front());
  const double enough = high / static_cast<double>(std::max<std::size_t>(1, parts)) / 1000;
  while (high - low > enough) {
    const double most = (low + high) / 2;
    const std::size_t found = cut(most).size();
    (found > 0 && found <= parts ? high : low) = most;
  }
  return cut(high);
}

}  // namespace qroar
