#include "rope/ramp.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace qroar {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;
constexpr Range<double> kRotations{1e-6, 1e9};
constexpr Range<double> kScale{1e-3, 1e3};

}  // namespace

double correction_index(const RopeGeometry& geometry, double rotations) {
  check(geometry.trained_length > 0, "a ramp needs the trained length");
  const auto trained = static_cast<double>(geometry.trained_length);
  const auto d = static_cast<double>(geometry.rotary_dim);
  return d * std::log(trained / (kTwoPi * rotations)) / (2 * std::log(geometry.theta));
}

Ramp::Ramp(const Config& config)
    : beta_fast_(config.get<double>("beta_fast", 32, kRotations)),
      beta_slow_(config.get<double>("beta_slow", 1, kRotations)),
      kind_(config.get_choice<Kind>("ramp", Kind::index, {{"index", Kind::index}, {"rotations", Kind::rotations}})),
      truncate_(kind_ == Kind::index && config.get<bool>("truncate", true)) {
  if (beta_fast_ <= beta_slow_) {
    config.fail(fmt::format("beta_fast ({}) must be above beta_slow ({})", beta_fast_, beta_slow_));
  }
}

Ramp::Range Ramp::index_range(const RopeGeometry& geometry) const {
  double low = correction_index(geometry, beta_fast_);
  double high = correction_index(geometry, beta_slow_);
  if (truncate_) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(geometry.rotary_dim - 1));
  // The released code widens an empty range by 0.001; a reversed range (L0 of a few tokens, or of billions) would
  // reverse the ramp there, so it is treated as empty too.
  return {low, high > low ? high : low + 0.001, high < low};
}

std::vector<double> Ramp::frequencies(const RopeGeometry& geometry, double s) const {
  std::vector<double> inv_freq = base_frequencies(geometry.rotary_dim, geometry.theta);
  const Range range = index_range(geometry);
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    double ramp = (static_cast<double>(i) - range.low) / (range.high - range.low);
    if (kind_ == Kind::rotations) {
      const double rotations = static_cast<double>(geometry.trained_length) * inv_freq[i] / kTwoPi;
      ramp = (beta_fast_ - rotations) / (beta_fast_ - beta_slow_);
    }
    inv_freq[i] *= std::lerp(1.0, 1 / s, std::clamp(ramp, 0.0, 1.0));
  }
  return inv_freq;
}

std::optional<Json> Ramp::hugging_face(const RopeGeometry& geometry, double s, double attention_factor) const {
  if (kind_ != Kind::index || index_range(geometry).reversed) return std::nullopt;
  Json scaling{{"rope_type", "yarn"},
               {"factor", s},
               {"original_max_position_embeddings", geometry.trained_length},
               {"beta_fast", beta_fast_},
               {"beta_slow", beta_slow_},
               {"truncate", truncate_}};
  const double computed = 0.1 * std::log(s) + 1;  // the default of both readers
  if (attention_factor != computed) {
    scaling["attention_factor"] = attention_factor;        // transformers' key
    scaling["attn_factor"] = attention_factor / computed;  // vLLM's, a multiplier
  }
  return Json{{"rope_scaling", std::move(scaling)}};
}

YarnAttention::YarnAttention(const Config& config) {
  if (config.has("attention_factor")) value_ = config.get<double>("attention_factor", 1, kScale);
  if (config.has("mscale") != config.has("mscale_all_dim"))
    config.fail("mscale and mscale_all_dim go together; give both");
  if (value_ && config.has("mscale"))
    config.at("mscale").fail("is not read beside attention_factor; give one of the two");
  if (config.has("mscale")) {
    mscale_ = config.get<double>("mscale", 1, kScale);
    mscale_all_dim_ = config.get<double>("mscale_all_dim", 1, kScale);
  }
}

double YarnAttention::of(double s) const {
  const double step = 0.1 * std::log(s);
  return value_ ? *value_ : (mscale_ * step + 1) / (mscale_all_dim_ * step + 1);
}

}  // namespace qroar
