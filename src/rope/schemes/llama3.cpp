// Llama 3.1's rule: depending on its wavelength, a pair is kept, divided by the factor, or blended linearly in
// L0 / wavelength.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class Llama3 : public RopeScheme {
 public:
  explicit Llama3(const Config& config)
      : factor_(config),
        low_freq_factor_(config.get<double>("low_freq_factor", 1, {1e-3, 1e6})),
        high_freq_factor_(config.get<double>("high_freq_factor", 4, {1e-3, 1e6})) {
    if (high_freq_factor_ <= low_freq_factor_) {
      config.fail(
          fmt::format("high_freq_factor ({}) must be above low_freq_factor ({})", high_freq_factor_, low_freq_factor_));
    }
    if (config.has(kOriginal)) original_ = config.get<int64_t>(kOriginal, 1, {1, int64_t{1} << 31});
  }

  RopeTable table(const RopeGeometry& geometry, int64_t) const override {
    const auto trained = static_cast<double>(original_.value_or(geometry.trained_length));
    check(trained > 0, "llama3 needs the trained length");
    RopeTable table{base_frequencies(geometry.rotary_dim, geometry.theta)};
    for (double& frequency : table.inv_freq) {
      const double rotations = trained * frequency / (2 * std::numbers::pi);
      const double kept = (rotations - low_freq_factor_) / (high_freq_factor_ - low_freq_factor_);
      frequency *= std::lerp(1 / factor_.of(geometry), 1.0, std::clamp(kept, 0.0, 1.0));
    }
    return table;
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    return Json{{"rope_scaling",
                 {{"rope_type", "llama3"},
                  {"factor", factor_.of(geometry)},
                  {"low_freq_factor", low_freq_factor_},
                  {"high_freq_factor", high_freq_factor_},
                  {kOriginal, original_.value_or(geometry.trained_length)}}}};
  }

 private:
  static constexpr const char* kOriginal = "original_max_position_embeddings";
  Factor factor_;
  double low_freq_factor_;   ///< rotations within L0 below which a pair is divided by the factor
  double high_freq_factor_;  ///< rotations within L0 above which a pair is kept
  std::optional<int64_t> original_;
};

const Register<RopeScheme, Llama3> kLlama3{
    "llama3", "Llama 3.1's scaling by wavelength (arXiv 2407.21783; Hugging Face rope_type llama3)",
    "{type: llama3, factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192}"};

}  // namespace
}  // namespace qroar
