// Shared by the row kernels: sums over a block, the steps of ops that several kernels use, dispatch on width
// at run time.  Calls in the same order give the same bits.
#pragma once
#include "ops/cuda/element.cuh"
#include "ops/cuda/kernels.h"

namespace qroar::ops::kernels {

constexpr int kThreads = 256, kWarp = 32, kWarps = kThreads / kWarp;

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  __device__ float operator()(float a, float b) const { return nan_max(a, b); }
};

/// Reduces x over `threads` adjacent threads of a warp, a power of two; all of them receive the result.
template <class Join, class T>
__device__ T over_threads(T x, int threads) {
  for (int step = threads / 2; step > 0; step /= 2) x = Join()(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

/// Reduces x over all threads of the block, always in the same order; all of them receive the result.  May be called
/// once per type.
template <class Join, class T>
__device__ T over_block(T x) {
  x = over_threads<Join>(x, kWarp);
  __shared__ T of_warp[kWarps];
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = x;
  __syncthreads();
  x = of_warp[0];
  for (int warp = 1; warp < kWarps; ++warp) x = Join()(x, of_warp[warp]);
  return x;
}

template <class T>
__device__ float rounded(float x) {
  T element;
  store(&element, 0, x);
  return load(&element, 0);
}

/// ops::rms_norm of one row, computed by a block.  `out` may be in shared memory.
template <class T, int kLanes>
__device__ void rms_norm_row(const Chunk<T, kLanes>* x, const Chunk<T, kLanes>* weight, Chunk<T, kLanes>* out,
                             int64_t chunks, float eps) {
  float squares = 0;
  for (int64_t i = threadIdx.x; i < chunks; i += kThreads) {
    const Chunk<T, kLanes> chunk = x[i];
    for (int lane = 0; lane < kLanes; ++lane) squares += load(chunk.lanes, lane) * load(chunk.lanes, lane);
  }
  const float mean = over_block<Add>(squares) / static_cast<float>(chunks * kLanes);
  const float scale = 1.0f / sqrtf(mean + eps);
  for (int64_t i = threadIdx.x; i < chunks; i += kThreads) {
    Chunk<T, kLanes> chunk = x[i];
    const Chunk<T, kLanes> own = weight[i];
    for (int lane = 0; lane < kLanes; ++lane) {
      store(chunk.lanes, lane, rounded<T>(load(chunk.lanes, lane) * scale) * load(own.lanes, lane));
    }
    out[i] = chunk;
  }
}

/// ops::silu_mul before its last cast.
template <class T>
__device__ float silu_mul_one(float gate, float up) {
  return rounded<T>(gate / (1.0f + expf(-gate))) * up;
}

/// ops::rope_ of a pair of channels before its last cast.
__device__ inline void rotate_pair(float& low, float& high, float cos, float sin) {
  const float x = low;
  low = x * cos - high * sin;
  high = high * cos + x * sin;
}

/// Returns whether these addresses and the size of rows of `elements` are multiples of 16 bytes.
template <class T, class... Pointers>
bool in_chunks(int64_t elements, Pointers... pointers) {
  const auto bits = (static_cast<uintptr_t>(elements * sizeof(T)) | ... | reinterpret_cast<uintptr_t>(pointers));
  return bits % 16 == 0;
}

}  // namespace qroar::ops::kernels
