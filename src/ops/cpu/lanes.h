// Vectors for the kernels on one row: 16 lanes of float32, and pairs of such vectors loaded from bfloat16.
#pragma once
#include <cstring>

#include "ops/cpu/vector_math.h"

namespace qroar::ops::cpu {

constexpr int64_t kLanes = 16;         // of float32
constexpr int64_t kPair = 2 * kLanes;  // bfloat16 channels that are loaded at once

// GCC's vector types, since GCC does not vectorize loops over several sums well.  Where they are wider than the
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

/// kPair adjacent channels converted to float32, those at even and those at odd positions, which is cheaper than
/// keeping them in order.
struct Pair {
  Floats even, odd;
};
QROAR_INLINE Pair load_pair(const Bf16* p) {
  Words words;
  std::memcpy(&words, p, sizeof(words));
  return {std::bit_cast<Floats>(words << 16), std::bit_cast<Floats>(words & 0xffff0000u)};
}

/// Returns a * b + sum, rounded once.  fma is explicit, since the compiler may not contract, and compiles to one
/// instruction.
QROAR_INLINE Floats fma(Floats a, Floats b, Floats sum) {
  for (int64_t l = 0; l < kLanes; ++l) sum[l] = std::fma(a[l], b[l], sum[l]);
  return sum;
}
QROAR_INLINE Floats broadcast(float x) { return x - Floats{}; }

/// Returns the sum of the lanes, by repeated halving, so that the additions run in parallel.
QROAR_INLINE float join(Floats x) {
  x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return x[0] + x[1];
}

}  // namespace qroar::ops::cpu
