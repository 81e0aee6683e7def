// Every point of the grid; suitable for few bands.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "search/strategy.h"

namespace qroar {
namespace {

constexpr double kMostPoints = 10'000;

class Grid : public Strategy {
 public:
  explicit Grid(const Config&) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64&) const override {
    double points = 1;
    for (const auto& values : space.values) points *= static_cast<double>(values.size());
    if (points > kMostPoints) {
      fail(
          "rescale.search: the grid has {:.3g} points, more than {}; take fewer bands or points, or the strategy "
          "coordinate",
          points, kMostPoints);
    }
    for (std::size_t index = 0; index < static_cast<std::size_t>(points) && !objective.exhausted(); ++index) {
      std::vector<double> point;
      std::size_t rest = index;
      for (const auto& values : space.values) {
        point.push_back(values[rest % values.size()]);
        rest /= values.size();
      }
      objective.score(point);
    }
  }
  double most_forwards(std::size_t dimensions, int64_t points) const override {
    return std::min(kMostPoints, std::pow(static_cast<double>(points), static_cast<double>(dimensions)));
  }
};

const Register<Strategy, Grid> kGrid{"grid", "every point of the grid, for few bands", "{type: grid}"};

}  // namespace
}  // namespace qroar
