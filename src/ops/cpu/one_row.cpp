// I input channels, O output channels, H query heads, K key/value heads, G = H / K, N tokens, d head_dim.
#include "ops/cpu/one_row.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "ops/cpu/vector_math.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kLanes = 16;          // of float32
constexpr int64_t kPair = 2 * kLanes;   // bfloat16 channels that are loaded at once
constexpr int64_t kElements = 1 << 15;  // of weights per task at least
constexpr int64_t kKeys = 256;          // per task of attention

// GCC's vectors, since it does not find its way through loops over several sums.  Where they are wider than the
// processor's, GCC splits them; the bits stay the same.
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Words = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));
#define QROAR_INLINE inline __attribute__((always_inline))

QROAR_INLINE Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}

QROAR_INLINE void store(float* p, Floats x) { std::memcpy(p, &x, sizeof(x)); }

/// kPair neighbouring channels, widened: those of even and those of odd places.  Cheaper than keeping them in order.
struct Pair {
  Floats even, odd;
};
QROAR_INLINE Pair load_pair(const Bf16* p) {
  Words words;
  std::memcpy(&words, p, sizeof(words));
  return {std::bit_cast<Floats>(words << 16), std::bit_cast<Floats>(words & 0xffff0000u)};
}

/// a * b + sum, rounded once: written out, since the compiler may not contract, and turned into one instruction.
QROAR_INLINE Floats fma(Floats a, Floats b, Floats sum) {
  for (int64_t l = 0; l < kLanes; ++l) sum[l] = std::fma(a[l], b[l], sum[l]);
  return sum;
}
QROAR_INLINE Floats broadcast(float x) { return x - Floats{}; }

/// Brings a row into the second-level cache.  The processor's own prefetching ends with a run of rows; asking for the
/// next one while this one is worked on brings attention from 60 to 95 % of the bandwidth.
QROAR_INLINE void prefetch(const Bf16* row, int64_t count) {
  constexpr int64_t kLine = 32;  // of bfloat16
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(row + i, /*rw=*/0, /*locality=*/2);
}

/// In halves, so that the additions go side by side.
QROAR_INLINE float join(Floats x) {
  x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return x[0] + x[1];
}

/// Channels times `scale` in blocks of kPair: 16 of even, 16 of odd places; what is left at the end stays as it is.
std::vector<float> in_pairs(const Bf16* x, int64_t count, float scale) {
  std::vector<float> pairs(static_cast<std::size_t>(count));
  int64_t i = 0;
  for (; i + kPair <= count; i += kPair) {
    const Pair pair = load_pair(x + i);
    store(pairs.data() + i, pair.even * scale);
    store(pairs.data() + i + kLanes, pair.odd * scale);
  }
  for (; i < count; ++i) pairs[static_cast<std::size_t>(i)] = widen(x[i]) * scale;
  return pairs;
}

/// Of a linear layer: rows of weights, and what comes of them.
struct Rows {
  const Bf16* weights;
  int64_t stride;
  const Bf16* bias;  ///< null where there is none
  Bf16* out;

  Rows from(int64_t row) const {
    return {weights + row * stride, stride, bias == nullptr ? nullptr : bias + row, out + row};
  }
};

/// x . row of kStreams rows that lie `apart`, x as in_pairs() gives it.
template <int kStreams>
QROAR_INLINE void dot(const Rows& rows, int64_t apart, const float* x, int64_t count) {
  Floats even[kStreams] = {}, odd[kStreams] = {};
  int64_t i = 0;
  for (; i + kPair <= count; i += kPair) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < kStreams; ++s) {
      const Pair pair = load_pair(rows.weights + s * apart * rows.stride + i);
      even[s] = fma(pair.even, load(x + i), even[s]);
      odd[s] = fma(pair.odd, load(x + i + kLanes), odd[s]);
    }
  }
  for (int64_t s = 0; s < kStreams; ++s) {
    float sum = join(even[s] + odd[s]);
    for (int64_t k = i; k < count; ++k) sum += widen(rows.weights[s * apart * rows.stride + k]) * x[k];
    if (rows.bias != nullptr) sum += widen(rows.bias[s * apart]);
    rows.out[s * apart] = narrow<Bf16>(sum);
  }
}

/// Rows far apart are read side by side: four streams bring a quarter more through than one.
QROAR_CLONES void dot_rows(const Rows& rows, int64_t row_count, const float* x, int64_t count) {
  constexpr int kStreams = 4;
  const int64_t apart = row_count / kStreams;
  for (int64_t r = 0; r < apart; ++r) dot<kStreams>(rows.from(r), apart, x, count);
  for (int64_t r = kStreams * apart; r < row_count; ++r) dot<1>(rows.from(r), 0, x, count);
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

const Bf16* bits(const at::Tensor& x) { return static_cast<const Bf16*>(x.const_data_ptr()); }

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

bool is_bfloat16_on_cpu(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.stride(-1) == 1;
}

}  // namespace

bool can_be_one_row(const at::Tensor& x_TI, const at::Tensor& weight_OI) {
  return x_TI.size(0) == 1 && is_bfloat16_on_cpu(x_TI) && is_bfloat16_on_cpu(weight_OI);
}

std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights) {
  const int64_t inputs = x_1I.size(1);
  const std::vector<float> x = in_pairs(bits(x_1I), inputs, 1);
  std::vector<at::Tensor> outputs, biases;
  std::vector<Rows> rows;
  int64_t all = 0;
  for (const Weights& one : weights) {
    outputs.push_back(at::empty({1, one.weight_OI.size(0)}, x_1I.options()));
    biases.push_back(one.bias_O.defined() ? one.bias_O.contiguous() : at::Tensor());
    rows.push_back({bits(one.weight_OI), one.weight_OI.stride(0),
                    biases.back().defined() ? bits(biases.back()) : nullptr,
                    static_cast<Bf16*>(outputs.back().mutable_data_ptr())});
    all += one.weight_OI.size(0);
  }
  at::parallel_for(0, all, std::max<int64_t>(1, kElements / inputs), [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // of the rows of this layer, among all
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const int64_t count = weights[i].weight_OI.size(0);
      const int64_t from = std::clamp<int64_t>(begin - first, 0, count),
                    to = std::clamp<int64_t>(end - first, 0, count);
      dot_rows(rows[i].from(from), to - from, x.data(), inputs);
      first += count;
    }
  });
  return outputs;
}

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
