// The block of an option `bands`, a number of pairs, and edges of bands.
#include <algorithm>

#include "fuzz.h"
#include "rope/bands.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const Config block = block_of(std::string(input));
  const auto pairs = block.get<int64_t>("pairs", 32, {1, 100'000});
  const std::vector<int64_t> edges = BandsOption(block).edges(pairs);
  must(edges.size() >= 2 && edges.front() == 0 && edges.back() == pairs, "bands hold all pairs");
  check_edges(block, edges);
  std::vector<int64_t> widths;
  for (std::size_t i = 1; i < edges.size(); ++i) widths.push_back(edges[i] - edges[i - 1]);
  const auto [least, most] = std::ranges::minmax(widths);
  must(least >= 1 && most - least <= 1, "bands of equal width, up to one pair");
  const auto stated = block.get<std::vector<int64_t>>("edges", edges);
  if (!refuses([&] { check_edges(block, stated); })) {
    must(stated.size() >= 2 && stated.front() == 0 && std::ranges::is_sorted(stated, std::less_equal<>()),
         "edges rise");
  }
}

}  // namespace qroar
