// YaRN: NTK-by-parts frequencies and an attention factor on cos and sin.
#include "config/registry.h"
#include "rope/ramp.h"

namespace qroar {
namespace {

class Yarn : public RopeScheme {
 public:
  explicit Yarn(const Config& config) : factor_(config), ramp_(config), attention_(config) {}

  RopeTable table(const RopeGeometry& geometry, int64_t) const override {
    const double s = factor_.of(geometry);
    return {ramp_.frequencies(geometry, s), attention_.of(s)};
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    const double s = factor_.of(geometry);
    return ramp_.hugging_face(geometry, s, attention_.of(s));
  }

 private:
  Factor factor_;
  Ramp ramp_;
  YarnAttention attention_;
};

const Register<RopeScheme, Yarn> kYarn{
    "yarn", "YaRN (Peng et al., arXiv 2309.00071); ramp index (released code) or rotations (paper)",
    "{type: yarn, factor: 8, beta_fast: 32, beta_slow: 1, ramp: index, truncate: true}"};

}  // namespace
}  // namespace qroar
