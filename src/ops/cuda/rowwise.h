// The row-wise ops on a GPU, with the kernels of rowwise.cu.
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cuda {

/// Returns whether the functions below support these tensors: on a GPU, of one dtype that is not float64, contiguous;
/// false where the program was built without nvcc.
bool supports_rowwise(at::TensorList tensors);
/// The same for rope_(), which only requires contiguous heads.
bool can_rotate(const at::Tensor& x_THd, const RopeAngles& angles);

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);
/// Bitwise equal to the definition.
void rope_(at::Tensor& x_THd, const RopeAngles& angles);
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);

}  // namespace qroar::ops::cuda
