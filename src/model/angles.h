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

/// The scheme's table for a sequence of so many tokens.
using TableOf = std::function<RopeTable(int64_t length)>;

/// Returns the angles of `table_of`, in the dtype that belongs to `weights` and on their device.  Keeps those of the
/// last lengths: windows of one cell mostly share theirs, and a search goes to and fro between its lengths.
AnglesOf cached_angles(const TableOf& table_of, const at::Tensor& weights, bool bfloat16);

}  // namespace qroar
