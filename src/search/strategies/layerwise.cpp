// The proxy first: coordinate descent on the distortion of the attention logits, which costs a few small products a
// point, then the true objective only for what it leads to and for `probes` random points of the grid, whose two scores
// say how well the proxy ranks (their rank correlation is in the search's summary).
#include "search/strategy.h"

namespace qroar {
namespace {

/// Sweeps of the descent on the proxy, which is cheap and smooth.
constexpr int kSweeps = 4;

class Layerwise : public Strategy {
 public:
  explicit Layerwise(const Config& config) : probes_(config.get<int64_t>("probes", 8, {0, 1000})) {}

  void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const override {
    const auto proxy = [&](const std::vector<double>& point) { return objective.proxy(point); };
    ScoredPoint best{std::vector<double>(space.size(), 0), 0};
    best.score = proxy(best.point);
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      coordinate_sweep(space, proxy, best);
      objective.score(best.point);
    }
    for (int64_t probe = 0; probe < probes_ && !objective.exhausted(); ++probe) {
      objective.score(space.drawn(random));
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
