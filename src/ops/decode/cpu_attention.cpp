// H query heads, K key/value heads, G = H / K, N tokens, d head_dim.
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "ops/cpu/lanes.h"
#include "ops/cpu/row_steps.h"
#include "ops/decode/cpu.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kKeys = 256;  // per task of attention
static_assert(kChannels == kPair);

/// Prefetches a row into the L2 cache.  The processor's own prefetching ends with a run of rows; prefetching the next
/// run while this one is processed raises attention from 60 to 95 % of the bandwidth.
QROAR_INLINE void prefetch(const Bf16* row, int64_t count) {
  constexpr int64_t kLine = 32;  // of bfloat16
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(row + i, /*rw=*/0, /*locality=*/2);
}

/// Computes the sums of four vectors, at a third of the cost of four join()s.
QROAR_INLINE void join_four(const Floats* x, float* out) {
  const auto halves = [](Floats a, Floats b) __attribute__((always_inline)) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  };
  const Floats ab = halves(x[0], x[1]), cd = halves(x[2], x[3]);
  Floats all = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
               __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  all += __builtin_shufflevector(all, all, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  all += __builtin_shufflevector(all, all, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  for (int i = 0; i < 4; ++i) out[i] = all[4 * i];
}

/// Computes the scores of kAtOnce keys for kHeads query heads (`q`, as written by widen_pairs()).
template <int kHeads, int kAtOnce>
QROAR_INLINE void score_keys(const float* q, const Bf16* keys, int64_t stride, int64_t dim, float* scores) {
  Floats sums[kHeads][kAtOnce] = {};
  for (int64_t i = 0; i < dim; i += kPair) {
#pragma GCC unroll 4
    for (int k = 0; k < kAtOnce; ++k) {
      const Pair pair = load_pair(keys + k * stride + i);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        sums[h][k] = fma(pair.even, load(q + h * dim + i), sums[h][k]);
        sums[h][k] = fma(pair.odd, load(q + h * dim + i + kLanes), sums[h][k]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
    if constexpr (kAtOnce == 4) {
      join_four(sums[h], scores + h * kKeys);
    } else {
      scores[h * kKeys] = join(sums[h][0]);
    }
  }
}

/// Computes kPairs * kPair adjacent channels of the weighted sums of values of kHeads heads.  `next`: the rows that are
/// read afterwards.
template <int kHeads, int kPairs>
QROAR_INLINE void mix_channels(const float* weights, const Bf16* values, int64_t stride, int64_t count, int64_t dim,
                               float* mixed, const Bf16* next, int64_t next_stride) {
  Floats even[kHeads][kPairs] = {}, odd[kHeads][kPairs] = {};
  for (int64_t k = 0; k < count; ++k) {
    prefetch(next + k * next_stride, kPairs * kPair);
#pragma GCC unroll 2
    for (int p = 0; p < kPairs; ++p) {
      const Pair pair = load_pair(values + k * stride + p * kPair);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) {
        const Floats weight = broadcast(weights[h * kKeys + k]);
        even[h][p] = fma(weight, pair.even, even[h][p]);
        odd[h][p] = fma(weight, pair.odd, odd[h][p]);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int p = 0; p < kPairs; ++p) {
      for (int64_t l = 0; l < kLanes; ++l) {
        mixed[h * dim + p * kPair + 2 * l] = even[h][p][l];
        mixed[h * dim + p * kPair + 2 * l + 1] = odd[h][p][l];
      }
    }
  }
}

/// Returns the largest element; ignores NaNs.
QROAR_INLINE float largest(const float* x, int64_t count) {
  Floats tops = broadcast(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) tops = load(x + i) > tops ? load(x + i) : tops;
  float top = tops[0];
  for (int64_t l = 1; l < kLanes; ++l) top = std::max(top, tops[l]);
  for (; i < count; ++i) top = std::max(top, x[i]);
  return top;
}

/// A chunk of the keys and values of one key/value head.
struct Chunk {
  const Bf16 *keys, *values;
  int64_t key_stride, value_stride, count, dim;
};

/// Computes the attention of kHeads query heads that share the chunk; `mixed` is [kHeads, dim].
template <int kHeads>
QROAR_CLONES void attend(const float* q, const Chunk& chunk, ChunkSum* sums, float* mixed) {
  const int64_t count = chunk.count, dim = chunk.dim;
  float scores[kHeads * kKeys];
  int64_t key = 0;
  for (; key + 4 <= count; key += 4) {
    for (int64_t k = key; k < key + 4; ++k) prefetch(chunk.values + k * chunk.value_stride, dim);
    score_keys<kHeads, 4>(q, chunk.keys + key * chunk.key_stride, chunk.key_stride, dim, scores + key);
  }
  for (; key < count; ++key) score_keys<kHeads, 1>(q, chunk.keys + key * chunk.key_stride, 0, dim, scores + key);
  for (int h = 0; h < kHeads; ++h) {
    float* own = scores + h * kKeys;
    const float top = largest(own, count);
    for (int64_t k = 0; k < count; ++k) own[k] = exp_fast(own[k] - top);
    Floats lanes = {};
    int64_t k = 0;
    for (; k + kLanes <= count; k += kLanes) lanes += load(own + k);
    float sum = join(lanes);
    for (; k < count; ++k) sum += own[k];
    sums[h] = {top, sum};
  }
  const Bf16* next = chunk.keys + count * chunk.key_stride;  // the chunk that a thread usually processes next
  const auto mix = [&]<int kPairs>(int64_t i) __attribute__((always_inline)) {
    mix_channels<kHeads, kPairs>(scores, chunk.values + i, chunk.value_stride, count, dim, mixed + i, next + i,
                                 chunk.key_stride);
  };
  int64_t i = 0;
  for (; i + 2 * kPair <= dim; i += 2 * kPair) mix.template operator()<2>(i);
  if (i < dim) mix.template operator()<1>(i);
}

void attend(int64_t heads, const float* q, const Chunk& chunk, ChunkSum* sums, float* mixed) {
  constexpr int64_t kMost = 4;
  for (int64_t h = 0; h < heads; h += kMost) {
    const auto of_heads = heads - h >= kMost ? attend<kMost>
                          : heads - h == 3   ? attend<3>
                          : heads - h == 2   ? attend<2>
                                             : attend<1>;
    of_heads(q + h * chunk.dim, chunk, sums + h, mixed + h * chunk.dim);
  }
}

/// Divides the sum of the chunks' weighted values by the sum of their weights, for one head out of `heads`.
QROAR_CLONES void join_chunks(const ChunkSum* sums, const float* mixed, int64_t chunks, int64_t heads, int64_t dim,
                              Bf16* out) {
  std::vector<float> values(static_cast<std::size_t>(dim));
  float top = -std::numeric_limits<float>::infinity(), total = 0;
  for (int64_t c = 0; c < chunks; ++c) top = std::max(top, sums[c * heads].top);
  for (int64_t c = 0; c < chunks; ++c) {
    const ChunkSum& chunk = sums[c * heads];
    const float weight = std::exp(chunk.top - top), *own = mixed + c * heads * dim;
    total += weight * chunk.sum;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += weight * own[i];
  }
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = narrow<Bf16>(values[i] / total);
}

}  // namespace

bool supports_row_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd) {
  return q_THd.size(0) == 1 && q_THd.size(2) % kChannels == 0 && is_bfloat16_on_cpu(q_THd) &&
         is_bfloat16_on_cpu(k_NKd) && is_bfloat16_on_cpu(v_NKd);
}

RowAttention::RowAttention(int64_t heads, int64_t kv_heads, int64_t dim, int64_t tokens, const CacheRows& keys,
                           const CacheRows& values)
    : heads_(heads),
      kv_heads_(kv_heads),
      dim_(dim),
      tokens_(tokens),
      chunks_((tokens + kKeys - 1) / kKeys),
      keys_(keys),
      values_(values),
      sums_(static_cast<std::size_t>(chunks_ * heads)),
      mixed_(std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(chunks_ * heads * dim))) {}

void RowAttention::attend(const float* pairs, int64_t begin, int64_t end) {
  const int64_t group = heads_ / kv_heads_;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t kv_head = task / chunks_, c = task % chunks_, first = c * kKeys;
    const auto rows = [&](const CacheRows& cache) {
      return cache.rows + first * cache.token_stride + kv_head * cache.head_stride;
    };
    const Chunk chunk{
        rows(keys_), rows(values_), keys_.token_stride, values_.token_stride, std::min(kKeys, tokens_ - first), dim_};
    const int64_t head = kv_head * group;
    cpu::attend(group, pairs + head * dim_, chunk, &sums_[static_cast<std::size_t>(c * heads_ + head)],
                mixed_.get() + (c * heads_ + head) * dim_);
  }
}

void RowAttention::join(int64_t begin, int64_t end, Bf16* out) const {
  for (int64_t h = begin; h < end; ++h)
    join_chunks(sums_.data() + h, mixed_.get() + h * dim_, chunks_, heads_, dim_, out + h * dim_);
}

at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                         const AttentionOptions& options) {
  const int64_t heads = q_1Hd.size(1), dim = q_1Hd.size(2);
  const at::Tensor q = q_1Hd.contiguous();
  const auto pairs = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(heads * dim));
  widen_pairs(bits(q), heads * dim, 1 / static_cast<float>(options.divisor(dim)), pairs.get());
  const auto rows = [](const at::Tensor& x_NKd) { return CacheRows{bits(x_NKd), x_NKd.stride(0), x_NKd.stride(1)}; };
  RowAttention attention(heads, k_NKd.size(1), dim, k_NKd.size(0), rows(k_NKd), rows(v_NKd));
  at::parallel_for(0, attention.tasks(), 1,
                   [&](int64_t begin, int64_t end) { attention.attend(pairs.get(), begin, end); });
  at::Tensor out_1Hd = at::empty(q_1Hd.sizes(), q_1Hd.options());
  attention.join(0, heads, static_cast<Bf16*>(out_1Hd.mutable_data_ptr()));
  return out_1Hd;
}

}  // namespace qroar::ops::cpu
