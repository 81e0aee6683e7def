// Dynamic NTK: the base grows with the length of sequences longer than L0, by Hugging Face's formula
// base * (factor * length / L0 - (factor - 1))^(d/(d-2)).  All positions use the base of the final length, as in a
// single forward pass.
#include <algorithm>

#include "base/error.h"
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class DynamicNtk : public RopeScheme {
 public:
  explicit DynamicNtk(const Config& config) : factor_(config, 1) {}

  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    check(geometry.trained_length > 0, "dynamic NTK needs the trained length");
    const double s =
        std::max(1.0, geometry.stretch * static_cast<double>(length) / static_cast<double>(geometry.trained_length));
    RopeGeometry unstretched = geometry;  // the factor is a constant of the formula here, not s
    unstretched.stretch = 1;
    const double stretch = 1 + factor_.of(unstretched) * (s - 1);
    return {base_frequencies(geometry.rotary_dim, ntk_base(geometry.rotary_dim, geometry.theta, stretch))};
  }
  /// The type takes L0 from max_position_embeddings and ignores other lengths in config.json.
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    return Json{{"max_position_embeddings", geometry.trained_length},
                {"rope_scaling", {{"rope_type", "dynamic"}, {"factor", factor_.of(geometry)}}}};
  }

 private:
  Factor factor_;
};

const Register<RopeScheme, DynamicNtk> kDynamicNtk{
    "dynamic_ntk", "NTK-aware with the factor of the sequence at hand (emozilla, 2023; arXiv 2309.00071 section 3.3)",
    "{type: dynamic_ntk, factor: 1}"};

}  // namespace
}  // namespace qroar
