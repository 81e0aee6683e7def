// The only place that decides which implementation of an op runs.
#include "ops/ops.h"

namespace qroar::ops {

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  return reference::rms_norm(x_TD, weight_D, eps);
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) { reference::rope_(x_THd, angles); }

at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  return reference::causal_attention(q_THd, k_TKd, v_TKd);
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) { return reference::silu_mul(gate_TF, up_TF); }

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  return reference::token_nll(logits_TV, targets_T);
}

}  // namespace qroar::ops
