// The proxy first: coordinate descent on the distortion of the attention logits, which costs a few small products a
// point, then the true objective only for what it leads to and for `probes` random points of the grid, whose two scores
// say how well the proxy ranks (their rank correlation is in the search's summary).
#include <algorithm>

#include "search/strategy.h"

namespace qroar {
namespace {

/// Sweeps of the descent on the proxy, which is cheap and smooth.
constexpr int kSweeps = 4;

class Layerwise : public Strategy {
 public:
  explicit Layerwise(const Config& config) : probes_(config.get<int64_t>("probes", 8, {0, 1000})) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const override {
    std::vector<double> best(space.size(), 0);
    double best_proxy = objective.proxy(best);
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (const std::size_t dimension : space.order) {
        std::vector<double> point = best;
        for (const double value : space.values[dimension]) {
          point[dimension] = value;
          const double proxy = objective.proxy(point);
          if (proxy < best_proxy) {
            best_proxy = proxy;
            best = point;
          }
        }
      }
      objective.score(best);
    }
    for (int64_t probe = 0; probe < probes_ && !objective.exhausted(); ++probe) {
      std::vector<double> point;
      for (const auto& values : space.values) point.push_back(values[random() % values.size()]);
      objective.proxy(point);
      objective.score(point);
    }
  }
  bool ends_by_itself() const override { return true; }
  bool asks_for_proxy() const override { return true; }

 private:
  int64_t probes_;
};

const Register<Strategy, Layerwise> kLayerwise{
    "layerwise", "descent on the distortion of the attention logits, checked by the true objective",
    "{type: layerwise, probes: 8}"};

}  // namespace
}  // namespace qroar
