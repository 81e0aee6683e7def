// The row-wise ops, each in one pass over memory, for float32 and bfloat16 on the CPU.  GCC compiles them for three
// generations of x86-64, which all give the same bits, since all sums have a fixed order.
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cpu {

/// Returns whether the functions below support these tensors: on the CPU, of one of the two dtypes, last dimension
/// contiguous.
bool supports_rowwise(at::TensorList tensors);

/// ops::rms_norm with the sum of squares in 16 float32 lanes; within 2^-20 of the definition before rounding to the
/// dtype.
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);

/// ops::rope_, bitwise equal to the definition.
void rope_(at::Tensor& x_THd, const RopeAngles& angles);

/// ops::silu_mul.  The exponential is within 2 ulp of float32, and silu within 4 ulp before rounding to the dtype.
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);

/// ops::token_nll, within 1e-6 of float64 arithmetic on the same logits.
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);

}  // namespace qroar::ops::cpu
