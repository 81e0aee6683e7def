// This folder decodes: it takes one token through a layer, on the CPU and on a GPU.  It repeats the order of
// decoder_layer() (model/llama.h) because one row leaves no time for anything else: a token of a 7B model is memory
// traffic of some milliseconds, and calls of single ops, each with a tensor, a dispatch and a launch or a parallel
// region of its own, took as long again (bench/RESULTS.md).  decode_layer_() has to give the bits of the ops one by
// one.
//
// What decoding asks of the CPU: one token's products with weights and with a cache, each byte of which is read once,
// so that memory sets the pace.  ATen's kernels for matrices reach half of it or less (bench/RESULTS.md).
#pragma once
#include <vector>

#include "ops/ops.h"

namespace qroar::ops::cpu {

/// Whether linears() takes these: one row on the CPU, bfloat16, last dimensions contiguous.
bool can_be_one_row(const at::Tensor& x_TI, const at::Tensor& weight_OI);

/// ops::linears of one row [1, I].  Products are summed in float32 lanes, the same ones for any number of threads.
std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights);

/// Whether attention_row() takes these: one query on the CPU, bfloat16, channels contiguous, head_dim a multiple of
/// 32.
bool can_attend_one(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// ops::causal_attention of the last of N tokens.  Keys are taken in chunks that are joined in order, the same bits for
/// any number of threads.
at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// Whether decode_layer_() takes these: the CPU, bfloat16, last dimensions contiguous, head_dim a multiple of 32.
bool can_decode_layer(const at::Tensor& x_1D, const CachedLayer& layer);

/// ops::decode_layer_, in one parallel region.
void decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position);

}  // namespace qroar::ops::cpu
