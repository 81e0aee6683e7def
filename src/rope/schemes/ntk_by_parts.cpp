// NTK-by-parts: YaRN's frequencies without its attention factor.
#include "config/registry.h"
#include "rope/ramp.h"

namespace qroar {
namespace {

class NtkByParts : public RopeScheme {
 public:
  explicit NtkByParts(const Config& config) : factor_(config), ramp_(config) {}

  RopeTable table(const RopeGeometry& geometry, int64_t) const override {
    return {ramp_.frequencies(geometry, factor_.of(geometry))};
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    return ramp_.hugging_face(geometry, factor_.of(geometry), /*attention_factor=*/1);
  }

 private:
  Factor factor_;
  Ramp ramp_;
};

const Register<RopeScheme, NtkByParts> kNtkByParts{
    "ntk_by_parts", "YaRN without its attention factor (Peng et al., arXiv 2309.00071 section 3.2)",
    "{type: ntk_by_parts, factor: 8, beta_fast: 32, beta_slow: 1, ramp: rotations}"};

}  // namespace
}  // namespace qroar
