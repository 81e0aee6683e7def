// Whether the kernels for AVX512-BF16 (attention, gram) and for AMX (attention) are there.
#pragma once
#ifdef __x86_64__
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

/// Returns whether the processor has AMX for bfloat16 as well, and Linux lets this process use its tile registers,
/// which a process has to ask for (Documentation/arch/x86/xstate.rst of the kernel).
inline bool has_amx_bf16() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool supported = has_avx512_bf16() && __builtin_cpu_supports("amx-tile") &&
                                __builtin_cpu_supports("amx-bf16") &&
                                syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return supported;
}
#else
inline constexpr bool kHasBf16Kernels = false;
inline bool has_avx512_bf16() { return false; }
inline bool has_amx_bf16() { return false; }
#endif

}  // namespace qroar::ops::cpu
