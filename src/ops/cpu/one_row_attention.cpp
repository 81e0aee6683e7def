// H query heads, K key/value heads, G = H / K, N tokens, d head_dim.
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "ops/cpu/lanes.h"
#include "ops/cpu/one_row.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kKeys = 256;  // per task of attention

/// Brings a row into the second-level cache.  The processor's own prefetching ends with a run of rows; asking for the
/// next one while this one is worked on brings attention from 60 to 95 % of the bandwidth.
QROAR_INLINE void prefetch(const Bf16* row, int64_t count) {
  constexpr int64_t kLine = 32;  // of bfloat16
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(row + i, /*rw=*/0, /*locality=*/2);
}

/// The sums of four vectors, for a third of what four join()s cost.
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

/// Of kHeads query heads (`q`, as in_pairs() gives them) the scores of kAtOnce keys.
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

/// kPairs * kPair neighbouring channels of kHeads heads' weighted sums of values.  `next`: rows that are read after.
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

/// The largest; NaNs are passed over.
QROAR_INLINE float largest(const float* x, int64_t count) {
  Floats tops = broadcast(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) tops = load(x + i) > tops ? load(x + i) : tops;
  float top = tops[0];
  for (int64_t l = 1; l < kLanes; ++l) top = std::max(top, tops[l]);
  for (; i < count; ++i) top = std::max(top, x[i]);
  return top;
}

/// What a chunk of keys adds to a query head: the sum of exp(score - top), and the values under those weights.
struct Part {
  float top, sum;
};

/// A chunk of the keys and values of one key/value head.
struct Chunk {
  const Bf16 *keys, *values;
  int64_t key_stride, value_stride, count, dim;
};

/// Of kHeads query heads that share the chunk; `mixed` is [kHeads, dim].
template <int kHeads>
QROAR_CLONES void attend(const float* q, const Chunk& chunk, Part* parts, float* mixed) {
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
    Floats sums = {};
    int64_t k = 0;
    for (; k + kLanes <= count; k += kLanes) sums += load(own + k);
    float sum = join(sums);
    for (; k < count; ++k) sum += own[k];
    parts[h] = {top, sum};
  }
  const Bf16* next = chunk.keys + count * chunk.key_stride;  // of the chunk that a thread mostly takes next
  const auto mix = [&]<int kPairs>(int64_t i) __attribute__((always_inline)) {
    mix_channels<kHeads, kPairs>(scores, chunk.values + i, chunk.value_stride, count, dim, mixed + i, next + i,
                                 chunk.key_stride);
  };
  int64_t i = 0;
  for (; i + 2 * kPair <= dim; i += 2 * kPair) mix.template operator()<2>(i);
  if (i < dim) mix.template operator()<1>(i);
}

void attend(int64_t heads, const float* q, const Chunk& chunk, Part* parts, float* mixed) {
  constexpr int64_t kMost = 4;
  for (int64_t h = 0; h < heads; h += kMost) {
    const auto of_heads = heads - h >= kMost ? attend<kMost>
                          : heads - h == 3   ? attend<3>
                          : heads - h == 2   ? attend<2>
                                             : attend<1>;
    of_heads(q + h * chunk.dim, chunk, parts + h, mixed + h * chunk.dim);
  }
}

/// The chunks' sums of values over those of their weights, in `out`; parts [chunks, H], mixed [chunks, H, d].
QROAR_CLONES void join_chunks(const Part* parts, const float* mixed, int64_t chunks, int64_t heads, int64_t dim,
                              Bf16* out) {
  std::vector<float> sums(static_cast<std::size_t>(dim));
  for (int64_t h = 0; h < heads; ++h) {
    float top = -std::numeric_limits<float>::infinity(), total = 0;
    for (int64_t c = 0; c < chunks; ++c) top = std::max(top, parts[c * heads + h].top);
    std::ranges::fill(sums, 0.0f);
    for (int64_t c = 0; c < chunks; ++c) {
      const Part& part = parts[c * heads + h];
      const float weight = std::exp(part.top - top), *own = mixed + (c * heads + h) * dim;
      total += weight * part.sum;
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += weight * own[i];
    }
    for (std::size_t i = 0; i < sums.size(); ++i)
      out[h * dim + static_cast<int64_t>(i)] = narrow<Bf16>(sums[i] / total);
  }
}

}  // namespace

bool can_attend_one(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd) {
  return q_THd.size(0) == 1 && q_THd.size(2) % kPair == 0 && is_bfloat16_on_cpu(q_THd) && is_bfloat16_on_cpu(k_NKd) &&
         is_bfloat16_on_cpu(v_NKd);
}

at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd) {
  const int64_t heads = q_1Hd.size(1), dim = q_1Hd.size(2), tokens = k_NKd.size(0), kv_heads = k_NKd.size(1);
  const int64_t group = heads / kv_heads, chunks = (tokens + kKeys - 1) / kKeys;
  const at::Tensor q = q_1Hd.contiguous();
  const std::vector<float> q_Hd = in_pairs(bits(q), heads * dim, 1 / std::sqrt(static_cast<float>(dim)));
  std::vector<Part> parts(static_cast<std::size_t>(chunks * heads));
  const auto mixed = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(chunks * heads * dim));
  at::parallel_for(0, kv_heads * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t kv_head = task / chunks, c = task % chunks, first = c * kKeys;
      const Chunk chunk{bits(k_NKd) + first * k_NKd.stride(0) + kv_head * k_NKd.stride(1),
                        bits(v_NKd) + first * v_NKd.stride(0) + kv_head * v_NKd.stride(1),
                        k_NKd.stride(0),
                        v_NKd.stride(0),
                        std::min(kKeys, tokens - first),
                        dim};
      const int64_t head = kv_head * group;
      attend(group, q_Hd.data() + head * dim, chunk, &parts[static_cast<std::size_t>(c * heads + head)],
             mixed.get() + (c * heads + head) * dim);
    }
  });
  at::Tensor out_1Hd = at::empty(q_1Hd.sizes(), q_1Hd.options());
  join_chunks(parts.data(), mixed.get(), chunks, heads, dim, static_cast<Bf16*>(out_1Hd.mutable_data_ptr()));
  return out_1Hd;
}

}  // namespace qroar::ops::cpu
