#include "rope/scheme.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace qroar {
namespace {

constexpr double kMaxFactor = 1e6;

/// Returns the factor, or nothing for `auto`.
std::optional<double> read_factor(const Config& config) {
  const Json written = config.json();
  if (written == Json("auto")) {
    config.as<std::string>();
    return std::nullopt;
  }
  if (!written.is_number() || written.get<double>() < 1 || written.get<double>() > kMaxFactor) {
    config.fail(fmt::format("expected auto or a number from 1 to {}, found {}", kMaxFactor, written.dump()));
  }
  return config.as<double>();
}

}  // namespace

Json longrope_scaling(const RopeGeometry& geometry, double factor, double attention_factor,
                      const std::vector<double>& short_divisors, const std::vector<double>& long_divisors) {
  return {{"rope_type", "longrope"},
          {"factor", factor},
          {"attention_factor", attention_factor},
          {"original_max_position_embeddings", geometry.trained_length},
          {"short_factor", short_divisors},
          {"long_factor", long_divisors},
          {"short_mscale", attention_factor},
          {"long_mscale", attention_factor}};
}

std::vector<double> base_frequencies(int64_t rotary_dim, double theta) {
  if (rotary_dim < 2 || rotary_dim % 2 != 0)
    fail("RoPE turns pairs: head_dim must be even and positive, found {}", rotary_dim);
  if (!(theta > 1 && std::isfinite(theta))) fail("the base of RoPE must be above 1, found {}", theta);
  std::vector<double> inv_freq(static_cast<std::size_t>(rotary_dim / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
  }
  return inv_freq;
}

double ntk_base(int64_t rotary_dim, double theta, double stretch) {
  if (rotary_dim < 4) fail("NTK-aware scaling needs a head_dim of at least 4, found {}", rotary_dim);
  const auto d = static_cast<double>(rotary_dim);
  return theta * std::pow(stretch, d / (d - 2));
}

Factor::Factor(const Config& config) : value_(read_factor(config.at("factor"))) {}

Factor::Factor(const Config& config, double fallback)
    : value_(config.has("factor") ? read_factor(config.at("factor")) : config.get<double>("factor", fallback)) {}

double Factor::of(const RopeGeometry& geometry) const {
  if (value_) return geometry.stretch * *value_;
  check(geometry.trained_length > 0 && geometry.target_length > 0, "`factor: auto` needs both lengths");
  return std::max(1.0, geometry.stretch * static_cast<double>(geometry.target_length) /
                           static_cast<double>(geometry.trained_length));
}

}  // namespace qroar
