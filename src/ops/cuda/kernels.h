// The interface of the CUDA kernels, without torch or CUDA types, so that host code needs no nvcc and kernels need no
// torch headers.  All run on the legacy default stream, which is ATen's current stream in this program.
#pragma once
#include <cstdint>

#include "ops/formats.h"

namespace qroar::ops {

namespace kernels {

enum class Element { float32, bfloat16, float16 };

/// Fake-quantizes `groups` runs of `group_size` consecutive elements on the device.  Returns the text of the CUDA
/// error, or null.
const char* rtn_fake_quant(const void* in, void* out, Element element, int64_t groups, int64_t group_size,
                           const RtnGrid& grid);

/// Fake-quantizes `count` elements in runs of `block` elements, the last of which may be shorter.  Returns as above.
const char* codebook_fake_quant(const void* in, void* out, Element element, int64_t count, int64_t block,
                                const CodeBook& book);

// The row-wise ops; contracts in ops/ops.h.  Rows are contiguous; weights and x share `element`.  All return as above.

/// x and out [rows, dim], weight [dim].
const char* rms_norm(const void* x, const void* weight, void* out, Element element, int64_t rows, int64_t dim,
                     float eps);

/// x [tokens, heads, 2 * pairs] in place, with strides in elements; cos and sin [tokens, pairs] float32.
const char* rope(void* x, Element element, int64_t tokens, int64_t heads, int64_t pairs, int64_t token_stride,
                 int64_t head_stride, const float* cos, const float* sin);

/// `count` elements each.
const char* silu_mul(const void* gate, const void* up, void* out, Element element, int64_t count);

/// logits [rows, vocabulary], targets [rows], nll [rows].
const char* token_nll(const void* logits, const int64_t* targets, double* nll, Element element, int64_t rows,
                      int64_t vocabulary);

// The ops of decoding, on one row; each takes a few microseconds to read weights or a cache.  Rows, addresses and sizes
// are multiples of 16 bytes.

struct RowInput {
  const void* x;
  int64_t size;
  const void* norm_weight;  ///< null: x is used unchanged; else rms_norm is applied first
  float eps;
};

struct RowWeights {
  const void* weights;  ///< [rows, size of the input]
  int64_t stride;       ///< between rows, in elements
  const void* bias;     ///< null, or [rows]
  int64_t rows;
};

constexpr int kMaxRowLayers = 3;

/// What happens to the concatenated outputs of the layers: they are stored, or added to `out`; or, for two layers with
/// the same number of rows, silu_mul of their outputs is stored.
enum class RowResult { store, add, silu_mul };

/// Reads weights before the previously launched kernel has finished, which therefore must not write them.
const char* linear_row(const RowInput& input, const RowWeights* layers, int count, RowResult result, void* out,
                       Element element);

/// The query of the last of `keys` tokens.  Strides are in elements; channels are contiguous.
struct RowQuery {
  const void* query;                ///< [heads, dim]
  const void *new_key, *new_value;  ///< [kv_heads, dim] of the last token; null if already in the cache
  const float *cos, *sin;           ///< [dim / 2], for RoPE on query and new key; null if already applied
  void *key, *value;                ///< the cache
  int64_t key_token_stride, key_head_stride, value_token_stride, value_head_stride;
  int64_t heads, kv_heads, dim, keys;  ///< dim 32, 64 or 128
  float scale;
};

/// Keys per block.
constexpr int64_t kRowKeys = 256;
constexpr int64_t row_parts(int64_t keys) { return (keys + kRowKeys - 1) / kRowKeys; }
/// Returns the bytes of scratch memory that attend_row() needs.
constexpr int64_t row_scratch(int64_t heads, int64_t dim, int64_t keys) {
  return row_parts(keys) * heads * (2 + dim) * static_cast<int64_t>(sizeof(float));
}

/// Computes the attention of one query, out [heads, dim].
const char* attend_row(const RowQuery& in, void* scratch, void* out, Element element);

}  // namespace kernels
}  // namespace qroar::ops
