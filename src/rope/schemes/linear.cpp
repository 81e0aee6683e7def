// Position interpolation: divides every position, that is, every frequency, by s.
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class Linear : public RopeScheme {
 public:
  explicit Linear(const Config& config) : factor_(config) {}

  RopeTable table(const RopeGeometry& geometry, int64_t) const override {
    RopeTable table{base_frequencies(geometry.rotary_dim, geometry.theta)};
    for (double& frequency : table.inv_freq) frequency /= factor_.of(geometry);
    return table;
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    return Json{{"rope_scaling", {{"rope_type", "linear"}, {"factor", factor_.of(geometry)}}}};
  }

 private:
  Factor factor_;
};

const Register<RopeScheme, Linear> kLinear{"linear", "position interpolation (Chen et al., arXiv 2306.15595)",
                                           "{type: linear, factor: 8}"};

}  // namespace
}  // namespace qroar
