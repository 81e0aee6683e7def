// The steps of decoding one token in a decoder layer, on rows of bfloat16.  Threads may split each step at any place:
// the bits stay the same.
#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <span>
#include <vector>

#include "ops/cpu/vector_math.h"

namespace qroar::ops::cpu {

/// Attention requires a multiple of this number of channels per head.
constexpr int64_t kChannels = 32;

inline const Bf16* bits(const at::Tensor& x) { return static_cast<const Bf16*>(x.const_data_ptr()); }

inline bool is_bfloat16_on_cpu(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.stride(-1) == 1;
}

/// Writes x times `scale` as float32 in the order of the vectors of lanes.h.
void widen_pairs(const Bf16* x, int64_t count, float scale, float* pairs);

/// Rows of a linear layer's weights and their outputs.
struct Rows {
  const Bf16* weights;
  int64_t stride;
  const Bf16* bias;  ///< null where there is none
  Bf16* out;
  int64_t count;

  Rows slice(int64_t begin, int64_t end) const {
    return {weights + begin * stride, stride, bias == nullptr ? nullptr : bias + begin, out + begin, end - begin};
  }
};

/// Computes out = weights . x + bias for rows [begin, end) of the concatenated rows of these layers; `pairs` is x as
/// written by widen_pairs().
void dot_rows(std::span<const Rows> layers, int64_t begin, int64_t end, const float* pairs, int64_t inputs);

/// ops::rms_norm, rope_ and silu_mul of one row or one head.
template <class T>
void rms_norm_row(const T* x, const T* weight, double eps, T* out, int64_t count);
template <class T>
void rotate_head(T* head, const float* cos, const float* sin, int64_t pairs);
template <class T>
void silu_mul_row(const T* gate, const T* up, T* out, int64_t count);

/// Keys or values of a cache.
struct CacheRows {
  const Bf16* rows;
  int64_t token_stride, head_stride;
};

/// The sum of exp(score - top) over a chunk of keys for one query head, which accompanies the weighted sum of values.
struct ChunkSum {
  float top, sum;
};

/// Attention of one query [heads, dim] over a cache.
class RowAttention {
 public:
  RowAttention(int64_t heads, int64_t kv_heads, int64_t dim, int64_t tokens, const CacheRows& keys,
               const CacheRows& values);

  /// Returns the number of tasks of the first step: one for each chunk of keys of each key/value head.
  int64_t tasks() const { return kv_heads_ * chunks_; }
  /// Runs tasks [begin, end).  `pairs` is the query times 1 / sqrt(dim), as written by widen_pairs().
  void attend(const float* pairs, int64_t begin, int64_t end);
  /// Writes heads [begin, end) of the output [heads, dim]; requires that all tasks are done.
  void join(int64_t begin, int64_t end, Bf16* out) const;

 private:
  int64_t heads_, kv_heads_, dim_, tokens_, chunks_;
  CacheRows keys_, values_;
  std::vector<ChunkSum> sums_;      ///< [chunks, heads]
  std::unique_ptr<float[]> mixed_;  ///< [chunks, heads, dim]
};

}  // namespace qroar::ops::cpu
