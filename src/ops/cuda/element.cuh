// Shared by the kernels: reading and writing elements of any dtype as float32, one by one or in chunks, minimum and
// maximum that propagate NaN, and dispatch on dtype at run time.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "ops/cuda/kernels.h"

namespace qroar::ops::kernels {

__device__ inline float load(const float* p, int64_t i) { return p[i]; }
__device__ inline float load(const __nv_bfloat16* p, int64_t i) { return __bfloat162float(p[i]); }
__device__ inline float load(const __half* p, int64_t i) { return __half2float(p[i]); }
__device__ inline void store(float* p, int64_t i, float x) { p[i] = x; }
__device__ inline void store(__nv_bfloat16* p, int64_t i, float x) { p[i] = __float2bfloat16_rn(x); }
__device__ inline void store(__half* p, int64_t i, float x) { p[i] = __float2half_rn(x); }

/// Consecutive elements that are read and written at once.
template <class T, int kLanes>
struct alignas(kLanes * sizeof(T)) Chunk {
  T lanes[kLanes];
};

/// Propagate NaN like ATen's amin and amax, while fminf and fmaxf drop it; a NaN weight must stay visible.
__device__ inline float nan_min(float a, float b) { return a != a ? a : (b != b ? b : fminf(a, b)); }
__device__ inline float nan_max(float a, float b) { return a != a ? a : (b != b ? b : fmaxf(a, b)); }

/// Calls run(a T) with the element's type.
template <class Run>
void with_type(Element element, const Run& run) {
  if (element == Element::float32) {
    run(float{});
  } else if (element == Element::bfloat16) {
    run(__nv_bfloat16{});
  } else {
    run(__half{});
  }
}

/// Returns the text of the last launch's error, or null.
inline const char* launch_error() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace qroar::ops::kernels
