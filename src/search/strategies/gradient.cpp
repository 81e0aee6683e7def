// Gradient descent in ln g of all scales at once (one backward pass): tries several step lengths along each gradient's
// direction, keeps the best, and computes a new gradient there.  A step length is that of the scale with the steepest
// slope, as a fraction of the grid's width; ends when no step length improves the score.
#include <algorithm>
#include <cmath>

#include "search/strategy.h"

namespace qroar {
namespace {

constexpr double kStepLengths = 3;  ///< number of points tried along each gradient

class Gradient : public Strategy {
 public:
  explicit Gradient(const Config& config) : steps_(config.get<int64_t>("steps", 8, {1, 1000})) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64&) const override {
    std::vector<double> best(space.size(), 0);
    double best_score = objective.score(best), length = first_length(space);
    for (int64_t step = 0; step < steps_ && !objective.exhausted(); ++step) {
      const std::vector<double> slope = objective.gradient(best);
      double steepest = 0;
      for (const double x : slope) steepest = std::max(steepest, std::abs(x));
      if (!(steepest > 0)) return;
      const std::vector<double> start = best;
      double taken = 0;
      for (const double by : {length, length / 2, length * 2}) {
        std::vector<double> point = start;
        for (std::size_t i = 0; i < point.size(); ++i) point[i] -= by * slope[i] / steepest;
        point = space.clamped(point);
        const double score = objective.score(point);
        if (score < best_score) {
          best_score = score;
          best = point;
          taken = by;
        }
      }
      if (taken == 0 && length < first_length(space) / 16) return;
      length = taken == 0 ? length / 4 : taken;
    }
  }
  double most_forwards(std::size_t, int64_t) const override {
    return 1 + static_cast<double>(steps_) * (kGradientCost + kStepLengths);
  }
  bool asks_for_gradient() const override { return true; }

 private:
  static double first_length(const SearchSpace& space) {
    double width = 0;
    for (const auto& values : space.values) width = std::max(width, values.back() - values.front());
    return width / 8;
  }
  int64_t steps_;
};

const Register<Strategy, Gradient> kGradient{
    "gradient", "line searches against the gradient by all scales at once, by autograd", "{type: gradient, steps: 8}"};

}  // namespace
}  // namespace qroar
