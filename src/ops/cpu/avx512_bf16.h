// Whether the kernels for AVX512-BF16 (attention, gram) are there.
#pragma once

namespace qroar::ops::cpu {

#ifdef __x86_64__
inline constexpr bool kHasBf16Kernels = true;  ///< this program has them; for other architectures there are none

/// Returns whether the processor has their instructions.
inline bool has_avx512_bf16() {
  static const bool supported = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                                __builtin_cpu_supports("avx512bf16");
  return supported;
}
#else
inline constexpr bool kHasBf16Kernels = false;
inline bool has_avx512_bf16() { return false; }
#endif

}  // namespace qroar::ops::cpu
