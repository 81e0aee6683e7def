// What YaRN, dynamic YaRN and NTK-by-parts share (Peng et al., arXiv 2309.00071): which pairs are interpolated, and by
// how much attention is sharpened.  A pair is kept when it turns often within L0, divided by s when it does not turn
// once, and blended between.  The paper's blend is linear in the rotations; the released code's (and Hugging Face's) in
// the pair index.
#pragma once
#include <optional>
#include <vector>

#include "rope/scheme.h"

namespace qroar {

/// The real-valued pair index that turns `rotations` times within L0: d ln(L0 / (2 pi rotations)) / (2 ln theta).
double correction_index(const RopeGeometry& geometry, double rotations);

class Ramp {
 public:
  /// Reads beta_fast, beta_slow, ramp and, for the index ramp, truncate.
  explicit Ramp(const Config& config);

  /// Ends of the index ramp: pairs up to `low` are kept, pairs from `high` on are divided by s.
  struct Range {
    double low, high;
    bool reversed;  ///< and treated as empty, where Hugging Face turns the ramp round
  };
  Range index_range(const RopeGeometry& geometry) const;

  /// Pair i gets inv_freq_i * ((1 - ramp_i) + ramp_i / s).  [d/2]
  std::vector<double> frequencies(const RopeGeometry& geometry, double s) const;

  /// The type yarn with this ramp, as RopeScheme::hugging_face() says it.
  std::optional<Json> hugging_face(const RopeGeometry& geometry, double s, double attention_factor) const;

 private:
  enum class Kind { index, rotations };
  double beta_fast_;  ///< rotations within L0 above which a pair is kept
  double beta_slow_;  ///< rotations within L0 below which a pair is divided by s
  Kind kind_;
  bool truncate_;  ///< round the ends of the index ramp outwards to whole pairs
};

/// The attention factor: explicit, or Hugging Face's quotient of mscale and mscale_all_dim, or 0.1 ln s + 1.
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
