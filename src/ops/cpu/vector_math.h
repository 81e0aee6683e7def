// Shared by the row kernels: conversion to and from bfloat16, a vectorizable exponential, and the attribute that
// compiles a function for several instruction sets.  fma is explicit, since the compiler may not contract.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define QROAR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define QROAR_CLONES
#endif

namespace qroar::ops::cpu {

using Bf16 = uint16_t;  // the bits

inline float widen(float x) { return x; }
inline float widen(Bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

/// Rounds to nearest even.
template <class T>
T narrow(float x);
template <>
inline float narrow<float>(float x) {
  return x;
}
template <>
inline Bf16 narrow<Bf16>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<Bf16>(x != x ? 0x7fc0 : rounded);
}

/// Returns e^x within 2 ulp for x in [-87, 88.7]; e^-87 = 1.6e-38 for smaller x, 3.4e38 for larger x, NaN for NaN.  x =
/// n ln 2 + r with ln 2 in two parts; uses a minimax polynomial of degree 6 in r (1.9e-9 relative) and adds n to the
/// exponent bits.
inline float exp_fast(float x) {
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.7f ? 88.7f : x;
  const float shifted = std::fma(x, 0x1.715476p+0f, kRound), n = shifted - kRound;
  const float r = std::fma(n, -0x1.7f7d1cp-20f, std::fma(n, -0x1.62e4p-1f, x));
  float p = 0x1.6ab980p-10f;
  p = std::fma(p, r, 0x1.126d0cp-7f);
  p = std::fma(p, r, 0x1.55589ap-5f);
  p = std::fma(p, r, 0x1.55540ap-3f);
  p = std::fma(p, r, 0x1.fffffap-2f);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23));
}

}  // namespace qroar::ops::cpu
