// The interface of a RoPE position interpolation scheme.  It does not use torch: a scheme is arithmetic in double.
// Notation (reference: Su et al. arXiv 2104.09864): d rotated channels of a head, pair i = 0..d/2-1, inv_freq_i =
// theta^(-2i/d), trained length L0, factor s = L/L0.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// The inputs of a scheme other than its own keys.
struct RopeGeometry {
  int64_t rotary_dim = 0;  ///< d, even: the channels of a head that RoPE rotates
  double theta = 10000.0;  ///< base of the frequencies (Hugging Face: rope_theta)
  int64_t trained_length =
      0;  ///< L0: original_max_position_embeddings where the model states it, else max_position_embeddings
  int64_t target_length = 0;  ///< windows.length of the job, used by `factor: auto`
  /// The RoPE of the model's config.json as a block `rope` (model/config_rope.h).
  Json model_rope = {{"type", "none"}};
  /// Multiplies s: every factor, explicit or auto (which stays at least 1), and the sequence length of dynamic schemes.
  /// Used only for derivatives in ln s.
  double stretch = 1;
};

/// Position m rotates pair i by m * inv_freq[i] radians; cos and sin are both multiplied by attention_factor (so q.k is
/// multiplied by its square).
struct RopeTable {
  std::vector<double> inv_freq;  ///< [d/2], radians per token
  double attention_factor = 1.0;

  bool operator==(const RopeTable&) const = default;
};

class RopeScheme {
 public:
  static constexpr const char* kKind = "rope scheme";
  virtual ~RopeScheme() = default;
  /// Returns the table for a sequence of `length` tokens; only dynamic schemes and LongRoPE depend on the length.
  virtual RopeTable table(const RopeGeometry& geometry, int64_t length) const = 0;
  /// Returns whether, with factor 1 and up to the trained length, the table is that of plain RoPE to 1e-15.
  virtual bool is_plain_at_factor_1() const { return true; }
  /// Returns the fields of config.json besides rope_theta from which Hugging Face's readers compute the same table at
  /// every length: rope_scaling, and max_position_embeddings where the type depends on it; none for plain RoPE.
  /// Returns nullopt where no rope_type expresses the scheme.
  virtual std::optional<Json> hugging_face(const RopeGeometry& /*geometry*/) const { return std::nullopt; }
};

/// Returns rope_scaling of the type longrope: frequencies are divided by `short_divisors` up to the trained length and
/// by `long_divisors` beyond.  States the attention factor for both readers: transformers reads attention_factor, vLLM
/// the two mscales.
Json longrope_scaling(const RopeGeometry& geometry, double factor, double attention_factor,
                      const std::vector<double>& short_divisors, const std::vector<double>& long_divisors);

/// Returns theta^(-2i/d) for i = 0..d/2-1.
std::vector<double> base_frequencies(int64_t rotary_dim, double theta);

/// Returns the NTK-aware base theta * stretch^(d/(d-2)), which keeps the frequency of pair 0 and divides that of the
/// last pair by `stretch`.
double ntk_base(int64_t rotary_dim, double theta, double stretch);

/// The `factor` key: a number >= 1, or `auto` = max(1, target_length / trained_length).
class Factor {
 public:
  /// Reads config.factor.
  explicit Factor(const Config& config);
  /// Reads config.factor, or uses `fallback` when it is absent.
  Factor(const Config& config, double fallback);
  double of(const RopeGeometry& geometry) const;  ///< times geometry.stretch

 private:
  std::optional<double> value_;  ///< empty: auto
};

}  // namespace qroar
