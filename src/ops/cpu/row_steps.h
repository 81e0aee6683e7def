// The steps of one token's way through a decoder layer, on rows of bfloat16.  Threads may divide each of them at any
// place: the bits stay the same.
#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <span>
#include <vector>

#include "ops/cpu/vector_math.h"

namespace qroar::ops::cpu {

/// Attention takes heads of multiples of so many channels.
constexpr int64_t kChannels = 32;

inline const Bf16* bits(const at::Tensor& x) { return static_cast<const Bf16*>(x.const_data_ptr()); }

inline bool is_bfloat16_on_cpu(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.stride(-1) == 1;
}

/// x times `scale` in the order that the vectors of lanes.h are read in.
void widen_pairs(const Bf16* x, int64_t count, float scale, float* pairs);

/// Of a linear layer: rows of weights, and what comes of them.
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

/// out = weights . x + bias of the rows begin..end out of all these layers' rows, one layer's after the other's; x as
/// widen_pairs() gives it.
void dot_rows(std::span<const Rows> layers, int64_t begin, int64_t end, const float* pairs, int64_t inputs);

/// ops::rms_norm, rope_ and silu_mul of one row, or one head.
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

/// What a chunk of keys adds to a query head: the sum of exp(score - top), beside the values under those weights.
struct ChunkSum {
  float top, sum;
};

/// Attention of one query [heads, dim] over a cache.
class RowAttention {
 public:
  RowAttention(int64_t heads, int64_t kv_heads, int64_t dim, int64_t tokens, const CacheRows& keys,
               const CacheRows& values);

  /// The first step's tasks: a chunk of keys of one key/value head each.
  int64_t tasks() const { return kv_heads_ * chunks_; }
  /// `pairs`: the query by widen_pairs(), times 1 / sqrt(dim).
  void attend(const float* pairs, int64_t begin, int64_t end);
  /// When all tasks are done: some heads of the output [heads, dim].
  void join(int64_t begin, int64_t end, Bf16* out) const;

 private:
  int64_t heads_, kv_heads_, dim_, tokens_, chunks_;
  CacheRows keys_, values_;
  std::vector<ChunkSum> sums_;      ///< [chunks, heads]
  std::unique_ptr<float[]> mixed_;  ///< [chunks, heads, dim]
};

}  // namespace qroar::ops::cpu
