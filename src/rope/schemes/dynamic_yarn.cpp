// Dynamic YaRN: s = length / L0 of the current sequence.  For a model that was fine-tuned with YaRN, `factor` is the
// factor of that training and a lower bound of s.
#include <algorithm>

#include "config/registry.h"
#include "rope/ramp.h"

namespace qroar {
namespace {

class DynamicYarn : public RopeScheme {
 public:
  explicit DynamicYarn(const Config& config) : factor_(config, 1), ramp_(config), attention_(config) {}

  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    const double stretch =
        geometry.stretch * static_cast<double>(length) / static_cast<double>(geometry.trained_length);
    RopeGeometry unstretched = geometry;
    unstretched.stretch = 1;
    // A factor of 1 is that of no training and no s to differentiate by: like dynamic NTK this is plain RoPE up to L0.
    const double least = factor_.of(unstretched) == 1 ? 1 : factor_.of(geometry);
    const double s = std::max(least, stretch);
    return {ramp_.frequencies(geometry, s), attention_.of(s)};
  }

 private:
  Factor factor_;
  Ramp ramp_;
  YarnAttention attention_;
};

const Register<RopeScheme, DynamicYarn> kDynamicYarn{
    "dynamic_yarn", "YaRN with the factor of the sequence at hand (Peng et al., arXiv 2309.00071 section 3.3)",
    "{type: dynamic_yarn, ramp: index}"};

}  // namespace
}  // namespace qroar
