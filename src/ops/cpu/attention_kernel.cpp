// FlashAttention-2 (Dao 2023, arXiv:2307.08691) on AVX512-BF16: 6 x 64 scores are computed, exponentiated, rounded to
// bfloat16 and multiplied with the values without leaving registers and L1.  Two deviations that only affect rounding:
// the reference of a row's exponents is its running maximum only to within a factor 2^kSlack, so that outputs are
// rarely rescaled; and sums of exponentials are kept per vector lane until the end.
#include "ops/cpu/attention_kernel.h"

#include "ops/cpu/bf16_tile.h"

namespace qroar::ops::cpu {
namespace {

static_assert(kKeyTile == kTileColumns);
constexpr float kSlack = 8;        // in powers of two: exponentials stay below 256 and far from overflow
constexpr float kLowest = -1e30f;  // below any score; finite, so that -inf scores stay -inf relative to it

using Tile = __m512[kRowTile][kVectors];

/// Returns 2^t to 2.6e-6 relative, three orders of magnitude below bfloat16's rounding, by a minimax polynomial of
/// degree 4 in the fraction of t.  2^-inf is 0, NaN stays NaN.
QROAR_INLINE __m512 exp2_fast(__m512 t) {
  const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF);  // t - floor(t); 0 for -inf
  __m512 p = _mm512_set1_ps(0x1.bb7cd4p-7f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.aa13f0p-5f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.ee798ap-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.62d166p-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.00002cp+0f));
  return _mm512_scalef_ps(p, t);  // p 2^floor(t)
}

/// Raises a row's reference to its maximum and rescales the accumulated sums accordingly.
__attribute__((noinline)) void raise_shift(QueryBlock& block, int64_t row, float top) {
  const __m512 factor = exp2_fast(_mm512_set1_ps(block.shift[row] - top));
  block.shift[row] = top;
  _mm512_store_ps(block.sum[row], _mm512_mul_ps(_mm512_load_ps(block.sum[row]), factor));
  float* mixed = block.mixed + row * block.dim;
  for (int64_t i = 0; i < block.dim; i += kLanes) {
    _mm512_storeu_ps(mixed + i, _mm512_mul_ps(_mm512_loadu_ps(mixed + i), factor));
  }
}

/// Processes one key tile for the six rows from `row`; `masked` where a key may be before a row's first or after
/// its position.
QROAR_INLINE void attend_tile(QueryBlock& block, int64_t row, int64_t tile, PackedHead packed, __m512 scale,
                              bool masked) {
  const int64_t pairs = block.dim / 2;
  Tile c = {};
  multiply<1>(c, block.queries + row * pairs, pairs, packed.keys + tile * pairs * kKeyTile, pairs);

  alignas(64) Bf16Pair weights[kRowTile][kKeyTile / 2];
  QROAR_UNROLL for (int r = 0; r < kRowTile; ++r) {
    if (masked) {
      const int64_t seen = block.position[row + r] - tile * kKeyTile + 1;
      const int64_t skipped = block.first[row + r] - tile * kKeyTile;
      const uint64_t before = seen >= kKeyTile ? ~0ull : seen <= 0 ? 0 : (1ull << seen) - 1;
      const uint64_t mask = skipped <= 0 ? before : skipped >= kKeyTile ? 0 : before & ~0ull << skipped;
      QROAR_UNROLL for (int i = 0; i < kVectors; ++i) {
        c[r][i] = _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), static_cast<__mmask16>(mask >> (i * kLanes)),
                                     c[r][i]);
      }
    }
    const __m512 top =
        _mm512_mul_ps(_mm512_max_ps(_mm512_max_ps(c[r][0], c[r][1]), _mm512_max_ps(c[r][2], c[r][3])), scale);
    if (_mm512_cmp_ps_mask(top, _mm512_set1_ps(block.shift[row + r] + kSlack), _CMP_GT_OQ) != 0) {
      raise_shift(block, row + r, _mm512_reduce_max_ps(top));
    }
    const __m512 shift = _mm512_set1_ps(block.shift[row + r]);
    QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[r][i] = exp2_fast(_mm512_fmsub_ps(c[r][i], scale, shift));
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(c[r][0], c[r][1]), _mm512_add_ps(c[r][2], c[r][3]));
    _mm512_store_ps(block.sum[row + r], _mm512_add_ps(_mm512_load_ps(block.sum[row + r]), sum));
    _mm512_store_si512(weights[r], (__m512i)_mm512_cvtne2ps_pbh(c[r][1], c[r][0]));
    _mm512_store_si512(weights[r] + kLanes, (__m512i)_mm512_cvtne2ps_pbh(c[r][3], c[r][2]));
  }

  for (int64_t panel = 0; panel < block.dim; panel += kKeyTile) {
    float* mixed = block.mixed + row * block.dim + panel;
    QROAR_UNROLL for (int r = 0; r < kRowTile; ++r) {
      QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[r][i] = _mm512_loadu_ps(mixed + r * block.dim + i * kLanes);
    }
    multiply<1>(c, weights[0], kKeyTile / 2, packed.values + (tile * block.dim + panel) * (kKeyTile / 2), kKeyTile / 2);
    QROAR_UNROLL for (int r = 0; r < kRowTile; ++r) {
      QROAR_UNROLL for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(mixed + r * block.dim + i * kLanes, c[r][i]);
    }
  }
}

}  // namespace

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

void attend(QueryBlock& block, int64_t begin, int64_t end, PackedHead packed, float log2_scale) {
  const __m512 scale = _mm512_set1_ps(log2_scale);
  const int64_t tiles = block.position[end - 1] / kKeyTile + 1;
  for (int64_t tile = block.first[begin] / kKeyTile; tile < tiles; ++tile) {
    for (int64_t row = begin; row < end; row += kRowTile) {
      const int64_t first = block.position[row], last = block.position[row + kRowTile - 1];
      if (last < tile * kKeyTile || block.first[row] >= (tile + 1) * kKeyTile) continue;  // these rows see none of it
      if (first >= (tile + 1) * kKeyTile - 1 && block.first[row + kRowTile - 1] <= tile * kKeyTile) {
        attend_tile(block, row, tile, packed, scale, /*masked=*/false);
      } else {
        attend_tile(block, row, tile, packed, scale, /*masked=*/true);
      }
    }
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
