#include "harness/queue.h"

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
  const auto cut = [&](double most) {
    std::vector<std::pair<std::size_t, std::size_t>> cuts;
    double sum = 0;
    for (std::size_t i = 0; i < costs.size(); ++i) {
      const bool fits = !cuts.empty() && sum + costs[i] <= most;
      sum = fits ? sum + costs[i] : costs[i] + joined[i];
      if (!fits) cuts.emplace_back(i, i);
      cuts.back().second = i + 1;
    }
    return cuts;
  };
  // Halving what is between a part that is certainly too small and one for all, to a thousandth of a part's share.
  double low = 0, high = std::reduce(costs.begin(), costs.end()) + (joined.empty() ? 0 : joined.front());
  const double enough = high / static_cast<double>(std::max<std::size_t>(1, parts)) / 1000;
  while (high - low > enough) {
    const double most = (low + high) / 2;
    (cut(most).size() <= parts ? high : low) = most;
  }
  return cut(high);
}

}  // namespace qroar
