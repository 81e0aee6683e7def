// Which cell comes next, and how a sweep is cut into parts of about equal work.
#include "run/queue.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "support/catch.h"

using namespace qroar;

namespace {

/// "ohd": open, held, done.
std::optional<std::size_t> next(const std::string& states, std::optional<std::size_t> last = std::nullopt) {
  std::vector<CellState> all;
  for (const char state : states)
    all.push_back(state == 'o' ? CellState::open : state == 'h' ? CellState::held : CellState::done);
  return next_cell(all, last);
}

double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

using Parts = std::vector<std::pair<std::size_t, std::size_t>>;

double cost_of(const std::pair<std::size_t, std::size_t>& part, const std::vector<double>& costs,
               const std::vector<double>& joined) {
  const auto begin = costs.begin() + static_cast<std::ptrdiff_t>(part.first);
  return std::accumulate(begin, costs.begin() + static_cast<std::ptrdiff_t>(part.second), joined[part.first]);
}

double dearest(const Parts& parts, const std::vector<double>& costs, const std::vector<double>& joined) {
  double most = 0;
  for (const auto& part : parts) most = std::max(most, cost_of(part, costs, joined));
  return most;
}

/// The least that the dearest part can cost, by trying every way to cut.
double least(const std::vector<double>& costs, const std::vector<double>& joined, std::size_t parts) {
  double best = INFINITY;
  for (std::size_t cuts = 0; cuts < std::size_t{1} << (costs.size() - 1); ++cuts) {
    Parts all{{0, 1}};
    for (std::size_t i = 1; i < costs.size(); ++i) {
      if ((cuts >> (i - 1) & 1) != 0) all.emplace_back(i, i);
      all.back().second = i + 1;
    }
    if (all.size() <= parts) best = std::min(best, dearest(all, costs, joined));
  }
  return best;
}

void check_whole(const Parts& parts, std::size_t cells, std::size_t most) {
  CHECK(parts.size() <= most);
  std::size_t end = 0;
  for (const auto& part : parts) {
    CHECK(part.first == end);
    CHECK(part.second > part.first);
    end = part.second;
  }
  CHECK(end == cells);
}

}  // namespace

TEST_CASE("a process goes on with the cell after its last one while that is open") {
  CHECK(next("dooo", 0) == 1u);
  CHECK(next("ooodoo", 3) == 4u);  // though another stretch is longer
  CHECK(next("dhoo", 0) == 3u);    // not there: as one that comes anew
  CHECK(next("ood", 2) == 0u);
  CHECK(next("oo") == 0u);
}

TEST_CASE("else it takes the longest open stretch, in the middle when another process comes towards it") {
  CHECK(next("odoodooo") == 5u);
  CHECK(next("dooodoo") == 1u);
  CHECK(next("hoooo") == 3u);
  CHECK(next("ho") == 1u);
  CHECK(next("hoo") == 2u);
  CHECK(next("oohoo") == 0u);  // the first of two that are as long
  CHECK(next("ohooooh") == 4u);
}

TEST_CASE("no cell comes next where none is open") {
  CHECK_FALSE(next(""));
  CHECK_FALSE(next("hdh"));
  CHECK_FALSE(next("dd", 1));
  CHECK_FALSE(next("dd", 7));
}

TEST_CASE("parts cover all cells in order, and the dearest is as cheap as any way to cut makes it") {
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t cells = 1 + static_cast<std::size_t>(uniform(random) * 9);
    const std::size_t most = 1 + static_cast<std::size_t>(uniform(random) * 11);
    std::vector<double> costs(cells), joined(cells);
    for (double& cost : costs) cost = uniform(random) < 0.2 ? 0 : uniform(random) * 10;
    for (double& cost : joined) cost = uniform(random) < 0.5 ? 0 : uniform(random) * 20;
    const Parts parts = pack(costs, joined, most);
    check_whole(parts, cells, most);
    const double best = least(costs, joined, most);
    CHECK(dearest(parts, costs, joined) <= best + 0.002 * (best + 1) * static_cast<double>(cells));
  }
}

TEST_CASE("equal cells are shared out evenly") {
  const std::vector<double> costs(24, 1.0), none(24, 0.0);
  const Parts parts = pack(costs, none, 8);
  check_whole(parts, 24, 8);
  for (const auto& [begin, end] : parts) CHECK(end - begin == 3);
}

TEST_CASE("cells that share something dear stay together") {
  const std::vector<double> costs(6, 1.0), joined{0, 10, 10, 0, 10, 10};
  CHECK(pack(costs, joined, 4) == Parts{{0, 3}, {3, 6}});
  CHECK(pack(costs, joined, 1) == Parts{{0, 6}});
}

TEST_CASE("one part is all, whatever order sums are taken in") {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<double> costs(97), joined(97, 0.0);
    for (double& cost : costs) cost = uniform(random) * 1e12;
    joined[0] = 0.1;
    CHECK(pack(costs, joined, 1) == Parts{{0, 97}});
  }
}

TEST_CASE("more parts than cells, cells without cost and no cells are no trouble") {
  check_whole(pack({3, 1, 2}, {0, 0, 0}, 10), 3, 3);
  CHECK(dearest(pack({3, 1, 2}, {0, 0, 0}, 10), {3, 1, 2}, {0, 0, 0}) == 3);
  check_whole(pack({0, 0, 0}, {0, 0, 0}, 2), 3, 2);
  check_whole(pack({0, 5, 0}, {0, 0, 0}, 2), 3, 2);
  CHECK(pack({}, {}, 4).empty());
}
