// Causal attention in bfloat16 on processors with AVX512-BF16 (attention_kernel.h).
#pragma once
#include <ATen/ATen.h>

namespace qroar::ops::cpu {

/// Whether attention() takes these tensors on this processor: bfloat16, head_dim a multiple of 64, channels contiguous.
bool can_attend(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd);

/// ops::causal_attention.  Differs from its definition only in rounding: exponentials are rounded to bfloat16 before
/// they meet the values, and everything is summed in another order, the same one for any number of threads.
at::Tensor attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

}  // namespace qroar::ops::cpu
