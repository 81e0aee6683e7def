// Proxy first: runs coordinate descent on the distortion of the attention logits, which costs a few small products per
// point, then evaluates the true objective only for its result and for `probes` random steps along one dimension from
// the best point so far.  The two scores of these points show how well the proxy ranks (their rank correlation is in
// the search's summary).  Points drawn from the whole grid would not show it, since the guard rejects nearly all of
// them when there are many dimensions.
#include "search/strategy.h"

namespace qroar {
namespace {

/// Number of sweeps of the descent on the proxy, which is cheap and smooth.
constexpr int kSweeps = 4;

class Layerwise : public Strategy {
 public:
  explicit Layerwise(const Config& config) : probes_(config.get<int64_t>("probes", 8, {0, 1000})) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const override {
    const auto proxy = [&](const std::vector<double>& point) { return objective.proxy(point); };
    const std::vector<double> identity(space.size(), 0);
    ScoredPoint descended{identity, proxy(identity)}, found{identity, objective.score(identity)};
    const auto try_out = [&](const std::vector<double>& point) {
      if (const double score = objective.score(point); score < found.score) found = {point, score};
    };
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      coordinate_sweep(space, proxy, descended);
      try_out(descended.point);
    }
    for (int64_t probe = 0; probe < probes_ && !objective.exhausted(); ++probe) {
      std::vector<double> point = found.point;
      const std::size_t dimension = random() % space.size();
      const std::vector<double>& values = space.values[dimension];
      point[dimension] = values[random() % values.size()];
      try_out(point);
    }
  }
  double most_forwards(std::size_t, int64_t) const override { return 1 + kSweeps + static_cast<double>(probes_); }
  bool asks_for_proxy() const override { return true; }

 private:
  int64_t probes_;
};

const Register<Strategy, Layerwise> kLayerwise{
    "layerwise", "descent on the distortion of the attention logits, checked by the true objective",
    "{type: layerwise, probes: 8}"};

}  // namespace
}  // namespace qroar
