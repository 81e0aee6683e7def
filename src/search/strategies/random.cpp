// Points drawn uniformly from the grid until the budget is spent.
#include <limits>

#include "search/strategy.h"

namespace qroar {
namespace {

class Random : public Strategy {
 public:
  explicit Random(const Config&) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const override {
    while (!objective.exhausted()) {
      objective.score(space.drawn(random));
    }
  }
  double most_forwards(std::size_t, int64_t) const override { return std::numeric_limits<double>::infinity(); }
};

const Register<Strategy, Random> kRandom{"random", "points drawn from the grid until the budget is spent",
                                         "{type: random}"};

}  // namespace
}  // namespace qroar
