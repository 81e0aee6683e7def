// The interpolation pressure on each RoPE pair, in closed form (docs/method.md 3.2, our definition).
#pragma once
#include "rope/scheme.h"

namespace qroar {

/// The derivatives of a scheme's table by ln s.
struct TableSlope {
  std::vector<double> inv_freq;     ///< d omega'_i / d ln s, radians per token, [d/2]
  double log_attention_factor = 0;  ///< d ln m / d ln s
};

/// Computes them as the central difference over s e^(+-h), h = 1e-4, through RopeGeometry::stretch; relative error
/// about h^2.  At a clamp (`auto` at target = L0, dynamic NTK at length = L0), where a smaller s changes nothing, it is
/// the one-sided derivative towards larger s, relative error about h.  It is 0 where the table does not depend on s:
/// none, LongRoPE's lists, a model without a factor, `auto`, dynamic NTK, and dynamic YaRN with a factor of 1, below
/// L0. Another scheme's explicit factor is differentiated at 1 as well.  `length` is the sequence length for dynamic
/// schemes.
TableSlope table_slope(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length);

/// Returns IP_i(D) = |d phi_i(D; s) / d ln s| with phi_i = omega'_i(s) D, radians, [d/2], from table_slope().  For
/// linear interpolation it is omega_i D / s.
std::vector<double> interpolation_pressure(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length,
                                           double distance);

/// Returns |omega_i - omega'_i| D, [d/2]: how many radians less than plain RoPE the scheme rotates pair i.
std::vector<double> phase_displacement(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length,
                                       double distance);

}  // namespace qroar
