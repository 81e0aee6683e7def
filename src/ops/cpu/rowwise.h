// The ops that go row by row, each in one pass over memory, for float32 and bfloat16 on the CPU.  GCC compiles them for
// three generations of x86-64; every one gives the same bits, since all sums have a fixed order of their own.
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cpu {

/// Whether the functions below take these tensors: on the CPU, one dtype out of the two, last dimension contiguous.
bool can_go_by_rows(at::TensorList tensors);

/// Sum of squares in 16 float32 lanes; within 2^-20 of the definition before rounding to the dtype.
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);

/// Equals the definition bit for bit.
void rope_(at::Tensor& x_THd, const RopeAngles& angles);

/// The exponential is within 2 ulp of float32; so are the silu's before rounding to the dtype, within 4.
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);

/// Within 1e-6 of float64 arithmetic on the same logits.
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);

}  // namespace qroar::ops::cpu
