// The product of bfloat16 pairs that the kernels for AVX512-BF16 are made of.  Only for files that are compiled for
// that instruction set.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace qroar::ops::cpu {

constexpr int kLanes = 16;                       // floats per register
constexpr int64_t kTileColumns = 64;             // of a product
constexpr int kVectors = kTileColumns / kLanes;  // registers per row of a product

#define QROAR_INLINE inline __attribute__((always_inline))
#define QROAR_UNROLL _Pragma("GCC unroll 8")

/// Computes c += a b for kRows rows of a and 64 columns of b [pairs][64]; pair p of row r is a[r row_stride + p
/// kStride].
template <int64_t kStride, int kRows>
QROAR_INLINE void multiply(__m512 (&c)[kRows][kVectors], const uint32_t* a, int64_t row_stride, const uint32_t* b,
                           int64_t pairs) {
  for (int64_t p = 0; p < pairs; ++p) {
    __m512bh column[kVectors];
    QROAR_UNROLL for (int i = 0; i < kVectors; ++i) column[i] =
        (__m512bh)_mm512_loadu_si512(b + p * kTileColumns + i * kLanes);
    QROAR_UNROLL for (int r = 0; r < kRows; ++r) {
      const __m512bh pair = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[r * row_stride + p * kStride]));
      QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[r][i] = _mm512_dpbf16_ps(c[r][i], pair, column[i]);
    }
  }
}

}  // namespace qroar::ops::cpu
