// From a scheme's table to the cos and sin that the model rotates with.
#pragma once
#include <functional>

#include "ops/ops.h"
#include "rope/scheme.h"

namespace qroar {

/// Angles of positions 0..length-1 in double, their cos and sin times the attention factor, rounded once to float32
/// (kept in float64 for a float64 model).  `bfloat16` rounds positions and frequencies to bfloat16 first: the ablation
/// `model.rope_dtype: bfloat16`.
ops::RopeAngles rope_angles(const RopeTable& table, int64_t length, at::ScalarType model_dtype,
                            const at::Device& device, bool bfloat16);

/// cos and sin for a sequence of so many tokens; called once per window, so it should keep what it made.
using AnglesOf = std::function<ops::RopeAngles(int64_t length)>;

}  // namespace qroar
