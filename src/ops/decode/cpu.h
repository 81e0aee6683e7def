// Decoding, on the CPU and on a GPU: takes one token through a layer.  The code repeats the order of decoder_layer()
// (model/llama.h) because overhead matters for a single row: a token of a 7B model is a few milliseconds of memory
// traffic, and separate ops, each with a tensor, a dispatch and a launch or a parallel region of its own, took the same
// time again (bench/RESULTS.md).  decode_layer_() must give the same bits as the separate ops.
//
// On the CPU, decoding consists of one token's products with weights and with a cache, each byte of which is read once,
// so that it is limited by memory bandwidth.  ATen's matrix kernels reach half of the bandwidth or less
// (bench/RESULTS.md).
#pragma once
#include <vector>

#include "ops/ops.h"

namespace qroar::ops::cpu {

/// Returns whether linears() supports these: one row on the CPU, bfloat16, last dimensions contiguous.
bool supports_row_linear(const at::Tensor& x_TI, const at::Tensor& weight_OI);

/// ops::linears of one row [1, I].  Products are summed in float32 lanes that do not depend on the number of threads.
std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights);

/// Returns whether attention_row() supports these: one query on the CPU, bfloat16, channels contiguous, head_dim a
/// multiple of 32.
bool supports_row_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// ops::causal_attention of the last of N tokens, which sees all of them.  Keys are processed in chunks whose results
/// are combined in order, with the same bits for any number of threads.
at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                         const AttentionOptions& options);

/// Returns whether decode_layer_() supports these: the CPU, bfloat16, last dimensions contiguous, head_dim a multiple
/// of 32.
bool can_decode_layer(const at::Tensor& x_1D, const CachedLayer& layer);

/// ops::decode_layer_ in one parallel region.
void decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position);

}  // namespace qroar::ops::cpu
