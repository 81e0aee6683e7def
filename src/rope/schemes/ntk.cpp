// NTK-aware interpolation: a larger base keeps the highest frequency and divides the lowest by s.
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class Ntk : public RopeScheme {
 public:
  explicit Ntk(const Config& config) : factor_(config) {}

  RopeTable table(const RopeGeometry& geometry, int64_t) const override {
    const double base = ntk_base(geometry.rotary_dim, geometry.theta, factor_.of(geometry));
    return {base_frequencies(geometry.rotary_dim, base)};
  }

 private:
  Factor factor_;
};

const Register<RopeScheme, Ntk> kNtk{
    "ntk", "NTK-aware: base * factor^(d/(d-2)) (bloc97, 2023; arXiv 2309.00071 section 3.1)", "{type: ntk, factor: 8}"};

}  // namespace
}  // namespace qroar
