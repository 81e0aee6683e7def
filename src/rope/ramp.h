// The ramp and attention factor shared by YaRN, dynamic YaRN and NTK-by-parts (Peng et al., arXiv 2309.00071).  The
// frequency of a pair is kept when the pair rotates often within L0, divided by s when it does not complete one
// rotation, and blended in between.  The blend is linear in the rotations in the paper, and linear in the pair index in
// the released code (and in Hugging Face's).
#pragma once
#include <optional>
#include <vector>

#include "rope/scheme.h"

namespace qroar {

/// Returns the real-valued index of the pair that completes `rotations` rotations within L0:
/// d ln(L0 / (2 pi rotations)) / (2 ln theta).
double correction_index(const RopeGeometry& geometry, double rotations);

class Ramp {
 public:
  /// Reads beta_fast, beta_slow, ramp and, for the index ramp, truncate.
  explicit Ramp(const Config& config);

  /// The ends of the index ramp: pairs up to `low` are kept, pairs from `high` on are divided by s.
  struct Range {
    double low, high;
    bool reversed;  ///< treated as empty here, whereas Hugging Face reverses the ramp
  };
  Range index_range(const RopeGeometry& geometry) const;

  /// Returns inv_freq_i * ((1 - ramp_i) + ramp_i / s) for each pair i, [d/2].
  std::vector<double> frequencies(const RopeGeometry& geometry, double s) const;

  /// Returns the rope_type yarn with this ramp, as RopeScheme::hugging_face() does.
  std::optional<Json> hugging_face(const RopeGeometry& geometry, double s, double attention_factor) const;

 private:
  enum class Kind { index, rotations };
  double beta_fast_;  ///< rotations within L0 above which a pair is kept
  double beta_slow_;  ///< rotations within L0 below which a pair is divided by s
  Kind kind_;
  bool truncate_;  ///< round the ends of the index ramp outwards to whole pairs
};

/// The attention factor: an explicit value, Hugging Face's quotient of mscale and mscale_all_dim, or 0.1 ln s + 1.
class YarnAttention {
 public:
  /// Reads attention_factor, mscale and mscale_all_dim, all optional.
  explicit YarnAttention(const Config& config);
  double of(double s) const;

 private:
  std::optional<double> value_;
  double mscale_ = 1;
  double mscale_all_dim_ = 0;
};

}  // namespace qroar
