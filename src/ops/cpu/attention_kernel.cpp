// FlashAttention-2 (Dao 2023, arXiv:2307.08691) on AVX512-BF16: 6 x 64 scores are computed, exponentiated, rounded to
// bfloat16 and multiplied with the values without leaving registers and L1.  Two deviations that only affect rounding:
// the reference of a row's exponents is its running maximum only to within a factor 2^kSlack, so that outputs are
// rarely rescaled; and sums of exponentials are kept per vector lane until the end.
#include "ops/cpu/attention_rows.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kRows = 6;  // whose 6 x 64 scores fill the registers

/// Processes one key tile for the six rows from `row`.
QROAR_INLINE void attend_tile(QueryBlock& block, int64_t row, int64_t tile, PackedHead packed, __m512 scale,
                              bool masked) {
  const int64_t pairs = block.dim / 2;
  __m512 c[kRows][kVectors] = {};
  multiply<1>(c, block.queries + row * pairs, pairs, packed.keys + tile * pairs * kKeyTile, pairs);

  alignas(64) Bf16Pair weights[kRows][kKeyTile / 2];
  QROAR_UNROLL for (int r = 0; r < kRows; ++r) {
    if (masked) mask_row(block, row + r, tile, c[r]);
    weigh_row(block, row + r, c[r], scale, weights[r]);
  }

  for (int64_t panel = 0; panel < block.dim; panel += kKeyTile) {
    float* mixed = block.mixed + row * block.dim + panel;
    QROAR_UNROLL for (int r = 0; r < kRows; ++r) {
      QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[r][i] = _mm512_loadu_ps(mixed + r * block.dim + i * kLanes);
    }
    multiply<1>(c, weights[0], kKeyTile / 2, packed.values + (tile * block.dim + panel) * (kKeyTile / 2), kKeyTile / 2);
    QROAR_UNROLL for (int r = 0; r < kRows; ++r) {
      QROAR_UNROLL for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(mixed + r * block.dim + i * kLanes, c[r][i]);
    }
  }
}

void attend(QueryBlock& block, int64_t begin, int64_t end, PackedHead packed, float log2_scale) {
  const __m512 scale = _mm512_set1_ps(log2_scale);
  for_seen_tiles<kRows>(
      block, begin, end, [&](int64_t row, int64_t tile, bool masked) __attribute__((always_inline)) {
        attend_tile(block, row, tile, packed, scale, masked);
      });
}

}  // namespace

const AttentionKernel kAvx512Attention{kRows, attend};

void pack_tile(HeadRows keys, HeadRows values, int64_t tile, int64_t tokens, int64_t dim, PackedHead packed) {
  const int64_t begin = tile * kKeyTile, count = tokens - begin < kKeyTile ? tokens - begin : kKeyTile;
  const auto pair = [](Bf16 low, Bf16 high) { return static_cast<Bf16Pair>(low) | static_cast<Bf16Pair>(high) << 16; };
  const auto value = [&](int64_t n, int64_t i) -> Bf16 {
    return n < count ? values.data[(begin + n) * values.stride + i] : 0;
  };
  Bf16Pair* packed_keys = packed.keys + tile * kKeyTile * (dim / 2);
  for (int64_t n = 0; n < kKeyTile; ++n) {
    const Bf16* key = keys.data + (begin + n) * keys.stride;
    for (int64_t p = 0; p < dim / 2; ++p)
      packed_keys[p * kKeyTile + n] = n < count ? pair(key[2 * p], key[2 * p + 1]) : 0;
  }
  Bf16Pair* packed_values = packed.values + tile * dim * (kKeyTile / 2);
  for (int64_t panel = 0; panel < dim; panel += kKeyTile) {
    for (int64_t n = 0; n < kKeyTile; n += 2) {
      for (int64_t i = 0; i < kKeyTile; ++i) *packed_values++ = pair(value(n, panel + i), value(n + 1, panel + i));
    }
  }
}

void start(QueryBlock& block) {
  for (int64_t row = 0; row < block.rows; ++row) {
    block.shift[row] = kLowest;
    for (float& sum : block.sum[row]) sum = 0;
    for (int64_t i = 0; i < block.dim; ++i) block.mixed[row * block.dim + i] = 0;
  }
}

void write_row(const QueryBlock& block, int64_t row, Bf16* out) {
  const __m512 sum = _mm512_set1_ps(_mm512_reduce_add_ps(_mm512_load_ps(block.sum[row])));
  for (int64_t i = 0; i < block.dim; i += kLanes) {
    const __m512 mixed = _mm512_div_ps(_mm512_loadu_ps(block.mixed + row * block.dim + i), sum);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), (__m256i)_mm512_cvtneps_pbh(mixed));
  }
}

}  // namespace qroar::ops::cpu
