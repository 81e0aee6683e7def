// Coordinate sweeps over the grid, most promising dimension first: tries all values of a dimension with the others at
// their best values, `sweeps` times; ends early when a sweep changes nothing.
#include "search/strategy.h"

namespace qroar {
namespace {

class Coordinate : public Strategy {
 public:
  explicit Coordinate(const Config& config) : sweeps_(config.get<int64_t>("sweeps", 2, {1, 1000})) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64&) const override {
    const auto score = [&](const std::vector<double>& point) { return objective.score(point); };
    ScoredPoint best{std::vector<double>(space.size(), 0), 0};
    best.score = score(best.point);
    for (int64_t sweep = 0; sweep < sweeps_; ++sweep) {
      if (!coordinate_sweep(space, score, best) || objective.exhausted()) return;
    }
  }
  double most_forwards(std::size_t dimensions, int64_t points) const override {
    return 1 + static_cast<double>(sweeps_ * (points - 1)) * static_cast<double>(dimensions);
  }

 private:
  int64_t sweeps_;
};

const Register<Strategy, Coordinate> kCoordinate{
    "coordinate", "sweeps over the grid, one dimension at a time, ordered by the diagnostics",
    "{type: coordinate, sweeps: 2}"};

}  // namespace
}  // namespace qroar
