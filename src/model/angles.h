// Computes the cos and sin that the model rotates with from a scheme's table.
#pragma once
#include <functional>

#include "ops/ops.h"
#include "rope/scheme.h"

namespace qroar {

/// Returns cos and sin of positions 0..length-1 times the attention factor, computed in double and rounded once to
/// float32 (kept in float64 for a float64 model).  `bfloat16` rounds positions and frequencies to bfloat16 first: the
/// ablation `model.rope_dtype: bfloat16`.
ops::RopeAngles rope_angles(const RopeTable& table, int64_t length, at::ScalarType model_dtype,
                            const at::Device& device, bool bfloat16);

/// Returns cos and sin for a sequence of `length` tokens; called once per window, so it should cache its results.
using AnglesOf = std::function<ops::RopeAngles(int64_t length)>;

}  // namespace qroar
