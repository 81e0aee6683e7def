// What becomes of the scores of attention, one row of 64 at a time: the part that all instruction sets share.  Only for
// files that are compiled for AVX512-BF16 and more.
#pragma once
#include "ops/cpu/attention_kernel.h"
#include "ops/cpu/bf16_tile.h"

namespace qroar::ops::cpu {

static_assert(kKeyTile == kTileColumns);
inline constexpr float kSlack = 8;        // in powers of two: exponentials stay below 256 and far from overflow
inline constexpr float kLowest = -1e30f;  // below any score; finite, so that -inf scores stay -inf relative to it

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
__attribute__((noinline)) static void raise_shift(QueryBlock& block, int64_t row, float top) {
  const __m512 factor = exp2_fast(_mm512_set1_ps(block.shift[row] - top));
  block.shift[row] = top;
  _mm512_store_ps(block.sum[row], _mm512_mul_ps(_mm512_load_ps(block.sum[row]), factor));
  float* mixed = block.mixed + row * block.dim;
  for (int64_t i = 0; i < block.dim; i += kLanes) {
    _mm512_storeu_ps(mixed + i, _mm512_mul_ps(_mm512_loadu_ps(mixed + i), factor));
  }
}

/// Takes from the scores `c` of a row those keys of the tile that are before its first or after its position.
QROAR_INLINE void mask_row(const QueryBlock& block, int64_t row, int64_t tile, __m512 (&c)[kVectors]) {
  const int64_t seen = block.position[row] - tile * kKeyTile + 1, skipped = block.first[row] - tile * kKeyTile;
  const uint64_t before = seen >= kKeyTile ? ~0ull : seen <= 0 ? 0 : (1ull << seen) - 1;
  const uint64_t mask = skipped <= 0 ? before : skipped >= kKeyTile ? 0 : before & ~0ull << skipped;
  QROAR_UNROLL for (int i = 0; i < kVectors; ++i) {
    c[i] = _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), static_cast<__mmask16>(mask >> (i * kLanes)), c[i]);
  }
}

/// Writes a row's exponentials of its scores `c`, rounded to bfloat16, to weights[kKeyTile / 2], and adds them to its
/// sum.
QROAR_INLINE void weigh_row(QueryBlock& block, int64_t row, __m512 (&c)[kVectors], __m512 scale, Bf16Pair* weights) {
  const __m512 top = _mm512_mul_ps(_mm512_max_ps(_mm512_max_ps(c[0], c[1]), _mm512_max_ps(c[2], c[3])), scale);
  if (_mm512_cmp_ps_mask(top, _mm512_set1_ps(block.shift[row] + kSlack), _CMP_GT_OQ) != 0) {
    raise_shift(block, row, _mm512_reduce_max_ps(top));
  }
  const __m512 shift = _mm512_set1_ps(block.shift[row]);
  QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[i] = exp2_fast(_mm512_fmsub_ps(c[i], scale, shift));
  const __m512 sum = _mm512_add_ps(_mm512_add_ps(c[0], c[1]), _mm512_add_ps(c[2], c[3]));
  _mm512_store_ps(block.sum[row], _mm512_add_ps(_mm512_load_ps(block.sum[row]), sum));
  _mm512_store_si512(weights, (__m512i)_mm512_cvtne2ps_pbh(c[1], c[0]));
  _mm512_store_si512(weights + kLanes, (__m512i)_mm512_cvtne2ps_pbh(c[3], c[2]));
}

/// Calls attend_tile(row, tile, masked) for the key tiles that rows [begin, end) see, kRows rows at a time; `masked`
/// where one of these rows does not see all of the tile.
template <int64_t kRows, class AttendTile>
QROAR_INLINE void for_seen_tiles(const QueryBlock& block, int64_t begin, int64_t end, AttendTile attend_tile) {
  const int64_t tiles = block.position[end - 1] / kKeyTile + 1;
  for (int64_t tile = block.first[begin] / kKeyTile; tile < tiles; ++tile) {
    for (int64_t row = begin; row < end; row += kRows) {
      const int64_t first = block.position[row], last = block.position[row + kRows - 1];
      if (last < tile * kKeyTile || block.first[row] >= (tile + 1) * kKeyTile) continue;  // these rows see none of it
      if (first >= (tile + 1) * kKeyTile - 1 && block.first[row + kRows - 1] <= tile * kKeyTile) {
        attend_tile(row, tile, /*masked=*/false);
      } else {
        attend_tile(row, tile, /*masked=*/true);
      }
    }
  }
}

}  // namespace qroar::ops::cpu
