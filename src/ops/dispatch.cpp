// The only place that decides which implementation of an op runs.
#include "ops/cpu/attention.h"
#include "ops/cpu/rowwise.h"
#include "ops/ops.h"

namespace qroar::ops {
namespace {

/// Our own ops have no derivatives.
bool goes_by_rows(at::TensorList tensors) { return !is_differentiated(tensors) && cpu::can_go_by_rows(tensors); }

/// ATen's fused attention: on CPU and CUDA a flash kernel, whose memory is linear in T, forward and backward (on CUDA
/// not for float64).  Heads are repeated here since not every kernel behind it takes fewer key/value heads.
at::Tensor fused_attention(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  const int64_t group = q_THd.size(1) / k_TKd.size(1);
  const auto batch_1HTd = [](const at::Tensor& x_THd) { return x_THd.transpose(0, 1).unsqueeze(0); };
  const at::Tensor k_THd = group == 1 ? k_TKd : k_TKd.repeat_interleave(group, 1);
  const at::Tensor v_THd = group == 1 ? v_TKd : v_TKd.repeat_interleave(group, 1);
  return at::scaled_dot_product_attention(batch_1HTd(q_THd), batch_1HTd(k_THd), batch_1HTd(v_THd), /*attn_mask=*/{},
                                          /*dropout_p=*/0.0, /*is_causal=*/true)
      .squeeze(0)
      .transpose(0, 1);
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  if (goes_by_rows({x_TD, weight_D})) return cpu::rms_norm(x_TD, weight_D, eps);
  return reference::rms_norm(x_TD, weight_D, eps);
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) {
  if (goes_by_rows(x_THd)) return cpu::rope_(x_THd, angles);
  if (is_differentiated(x_THd)) x_THd = x_THd.clone();
  reference::rope_(x_THd, angles);
}

at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  if (is_differentiated({q_THd, k_TKd, v_TKd})) return fused_attention(q_THd, k_TKd, v_TKd);
  if (cpu::can_attend(q_THd, k_TKd, v_TKd)) return cpu::attention(q_THd, k_TKd, v_TKd);
  if (q_THd.scalar_type() == at::kDouble) return reference::causal_attention(q_THd, k_TKd, v_TKd);
  return fused_attention(q_THd, k_TKd, v_TKd);
}

at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_TKd, const at::Tensor& cached_v_TKd,
                              const at::Tensor& exact_k_TKd, const at::Tensor& exact_v_TKd, int64_t residual) {
  return reference::residual_attention(q_THd, cached_k_TKd, cached_v_TKd, exact_k_TKd, exact_v_TKd, residual);
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  if (goes_by_rows({gate_TF, up_TF})) return cpu::silu_mul(gate_TF, up_TF);
  return reference::silu_mul(gate_TF, up_TF);
}

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  if (goes_by_rows(logits_TV)) return cpu::token_nll(logits_TV, targets_T);
  return reference::token_nll(logits_TV, targets_T);
}

}  // namespace qroar::ops
