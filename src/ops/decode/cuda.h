// Decoding on a GPU: one token's products with weights and with a cache, by kernels that read each byte once
// (src/ops/decode/cuda_*.cu) and follow one another without ATen's host overhead between them.
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cuda {

/// Returns whether linears() supports these: one row on a GPU, all of one dtype that is not float64, in complete chunks
/// of 16 bytes.  This and the next two functions return false where the program was built without nvcc.
bool supports_row_linear(const at::Tensor& x_TI, const std::vector<Weights>& weights);

/// ops::linears of one row [1, I] for at most three layers.
std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights);

/// Returns whether attention_row() supports these: one query on a GPU, not float64, head_dim 32, 64 or 128.
bool supports_row_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// ops::causal_attention of the last of N tokens, which sees all of them; the order of sums depends only on N.
at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                         const AttentionOptions& options);

/// Returns whether decode_layer_() supports these: what the functions above support, heads that are rotated wholly and
/// have no norm.
bool can_decode_layer(const at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C);

/// ops::decode_layer_ in six kernels.
void decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position);

}  // namespace qroar::ops::cuda
