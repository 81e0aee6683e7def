// Plain RoPE: theta^(-2i/d) at every length.
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class None : public RopeScheme {
 public:
  explicit None(const Config&) {}

  RopeTable table(const RopeGeometry& geometry, int64_t) const override {
    return {base_frequencies(geometry.rotary_dim, geometry.theta)};
  }
  std::optional<Json> hugging_face(const RopeGeometry&) const override { return Json::object(); }
};

const Register<RopeScheme, None> kNone{"none", "plain RoPE (Su et al., arXiv 2104.09864)", "{type: none}"};

}  // namespace
}  // namespace qroar
