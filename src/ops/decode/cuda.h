// What decoding asks of a GPU: one token's products with weights and with a cache, by kernels that read each byte once
// (src/ops/decode/cuda_*.cu) and that follow one another without ATen's time on the host between them.
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cuda {

/// Whether linears() takes these: one row on a GPU, all of one dtype that is not float64, in whole chunks of 16 bytes.
/// False where the program was built without nvcc, as are the next two.
bool can_be_one_row(const at::Tensor& x_TI, const std::vector<Weights>& weights);

/// ops::linears of one row [1, I], of at most three layers.
std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights);

/// Whether attention_row() takes these: one query on a GPU, not float64, head_dim 32, 64 or 128.
bool can_attend_one(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// ops::causal_attention of the last of N tokens; the bits depend on N alone.
at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// Whether decode_layer_() takes these: what the functions above take.
bool can_decode_layer(const at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C);

/// ops::decode_layer_, in six kernels.
void decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position);

}  // namespace qroar::ops::cuda
