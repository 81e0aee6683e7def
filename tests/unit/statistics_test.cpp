// Rank correlations against values worked out by hand.
#include "base/statistics.h"

#include "support/catch.h"

using namespace qroar;

TEST_CASE("the rank correlation sees the order alone, and equal numbers share the mean of their ranks") {
  CHECK(rank_correlation({1, 2, 30}, {-5, 0, 0.1}).value() == Approx(1));
  CHECK(rank_correlation({1, 2, 3, 4}, {9, 7, 5, 1}).value() == Approx(-1));
  // Ranks 1, 2, 3, 4 and 2, 1, 4, 3: 1 - 6 * 4 / (4 * 15).
  CHECK(rank_correlation({1, 2, 3, 4}, {2, 1, 4, 3}).value() == Approx(0.6));
  // Centred ranks -1.5, 0, 0, 1.5 and -1.5, -0.5, 0.5, 1.5: 4.5 / sqrt(4.5 * 5), wherever the equal ones stand.
  CHECK(rank_correlation({1, 2, 2, 3}, {1, 2, 3, 4}).value() == Approx(4.5 / std::sqrt(22.5)));
  CHECK(rank_correlation({1, 2, 2, 3}, {1, 3, 2, 4}).value() == Approx(4.5 / std::sqrt(22.5)));
  CHECK_FALSE(rank_correlation({1, 2}, {1, 2}));
  CHECK_FALSE(rank_correlation({1, 2, 3}, {4, 4, 4}));
}
