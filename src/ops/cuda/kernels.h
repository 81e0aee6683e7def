// What the CUDA kernels offer, without torch or CUDA types, so that host code needs no nvcc and kernels no torch
// headers. All run on the legacy default stream, which is ATen's current stream in this program.
#pragma once
#include <cstdint>

#include "ops/formats.h"

namespace qroar::ops {

namespace kernels {

enum class Element { float32, bfloat16, float16 };

/// Fake-quantizes `groups` runs of `group_size` neighbouring elements on the device.  Returns the CUDA error's text, or
/// null.
const char* rtn_fake_quant(const void* in, void* out, Element element, int64_t groups, int64_t group_size,
                           const RtnGrid& grid);

/// Fake-quantizes `count` elements in runs of `block` neighbours, the last of which may be shorter.  The same return.
const char* codebook_fake_quant(const void* in, void* out, Element element, int64_t count, int64_t block,
                                const CodeBook& book);

// The ops that go row by row; contracts in ops/ops.h.  Rows are contiguous; weights and x share `element`.  All return
// as above.

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

// What decoding asks: the ops on one row, each of which is a few microseconds of reading weights or a cache.  Rows,
// addresses and sizes are multiples of 16 bytes.

struct RowInput {
  const void* x;
  int64_t size;
  const void* norm_weight;  ///< null: x as it is; else it goes through rms_norm first
  float eps;
};

struct RowWeights {
  const void* weights;  ///< [rows, the input's size]
  int64_t stride;       ///< between rows, in elements
  const void* bias;     ///< null, or [rows]
  int64_t rows;
};

constexpr int kMaxRowLayers = 3;

/// What becomes of the layers' outputs, one layer's after the other's: they are stored; added to what is in `out`; or,
/// of two layers with as many rows, silu_mul of the first's and the second's is stored.
enum class RowResult { store, add, silu_mul };

/// Weights are read before the kernel launched last has ended: they must not be what it writes.
const char* linear_row(const RowInput& input, const RowWeights* layers, int count, RowResult result, void* out,
                       Element element);

/// The last of `keys` tokens asks.  Strides in elements; channels are contiguous.
struct RowQuery {
  const void* query;                ///< [heads, dim]
  const void *new_key, *new_value;  ///< [kv_heads, dim], of the last token; null where the cache has it already
  const float *cos, *sin;           ///< [dim / 2]: of RoPE on query and new key; null where that is done already
  void *key, *value;                ///< the cache
  int64_t key_token_stride, key_head_stride, value_token_stride, value_head_stride;
  int64_t heads, kv_heads, dim, keys;  ///< dim 32, 64 or 128
  float scale;
};

/// Keys that a block takes.
constexpr int64_t kRowKeys = 256;
constexpr int64_t row_parts(int64_t keys) { return (keys + kRowKeys - 1) / kRowKeys; }
/// Bytes that attend_row() needs beside.
constexpr int64_t row_scratch(int64_t heads, int64_t dim, int64_t keys) {
  return row_parts(keys) * heads * (2 + dim) * static_cast<int64_t>(sizeof(float));
}

/// out [heads, dim].
const char* attend_row(const RowQuery& in, void* scratch, void* out, Element element);

}  // namespace kernels
}  // namespace qroar::ops
