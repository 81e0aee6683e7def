// Causal attention in bfloat16 on processors with AVX512-BF16 (attention_kernel.h).
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cpu {

/// Returns whether the functions below support these tensors on this processor: bfloat16, head_dim a multiple of 64,
/// channels contiguous.
bool can_attend(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd);

/// ops::causal_attention.  Differs from its definition only in rounding: exponentials are rounded to bfloat16 before
/// they are multiplied with the values, and sums have another order, the same one for any number of threads.
at::Tensor attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                     const AttentionOptions& options);

/// ops::residual_attention, with the same rounding; 0 < residual.
at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual,
                              const AttentionOptions& options);

/// ops::keep_prefix in the kernel's memory layout.
Prefix packed_prefix(const at::Tensor& k_PKd, const at::Tensor& v_PKd);

/// ops::attention_in_packs, without a sliding window.  The bits of a query's result do not depend on the other
/// sequences of the pack.
at::Tensor attention_in_packs(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd,
                              const std::vector<SequenceRows>& sequences, const Prefix* prefix,
                              const AttentionOptions& options);

}  // namespace qroar::ops::cpu
