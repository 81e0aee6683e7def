// RTN group fake quantization on the GPU; the contract is in ops/rtn.h and the bits equal
// ops::reference::rtn_fake_quant. One block per group: a min/max reduction (exact in any order), then every element is
// rounded onto the group's grid. Built with --fmad=false and IEEE division, so that each operation rounds as it does on
// the CPU.
#include "ops/kernels.h"
#include "ops/kernels/element.cuh"

namespace qroar::ops::kernels {
namespace {

constexpr int kThreads = 128;

struct Grid {
  float scale, zero, low, high;  // w' = (clamp(round(w / scale) + zero, low, high) - zero) * scale
};

__device__ Grid asymmetric_grid(float lo, float hi, RtnGrid grid) {
  const float levels = static_cast<float>((1 << grid.bits) - 1);
  float scale;
  if (grid.zero == RtnZero::plain) {
    scale = hi == lo ? (lo == 0.0f ? 1.0f : fabsf(lo)) : (hi - lo) / levels;
  } else if (grid.zero == RtnZero::awq) {
    scale = nan_max(hi - lo, 1e-5f) / levels;
  } else {
    lo = nan_min(lo, 0.0f);
    hi = nan_max(hi, 0.0f);
    if (lo == 0.0f && hi == 0.0f) {
      lo = -1.0f;
      hi = 1.0f;
    }
    scale = (hi - lo) / levels;
  }
  float zero = -rintf(lo / scale);
  if (grid.zero == RtnZero::awq) zero = nan_min(nan_max(zero, 0.0f), levels);
  return {scale, zero, 0.0f, levels};
}

__device__ Grid symmetric_grid(float lo, float hi, RtnGrid grid) {
  const float half = static_cast<float>(1 << (grid.bits - 1));
  float largest = nan_max(fabsf(lo), fabsf(hi));
  if (grid.zero == RtnZero::included) {
    if (largest == 0.0f) largest = 1.0f;
    const float levels = 2.0f * half - 1.0f;
    return {largest * 2.0f / levels, half, 0.0f, levels};
  }
  if (grid.zero == RtnZero::awq) largest = nan_max(largest, 1e-5f);
  if (largest == 0.0f) largest = half - 1.0f;
  return {largest / (half - 1.0f), 0.0f, -half, half - 1.0f};
}

template <class T>
__global__ void rtn_kernel(const T* in, T* out, int64_t group_size, RtnGrid rtn) {
  __shared__ float lows[kThreads], highs[kThreads];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * group_size;
  float lo = load(in, begin), hi = lo;
  for (int64_t i = threadIdx.x; i < group_size; i += kThreads) {
    const float w = load(in, begin + i);
    lo = nan_min(lo, w);
    hi = nan_max(hi, w);
  }
  lows[threadIdx.x] = lo;
  highs[threadIdx.x] = hi;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      lows[threadIdx.x] = nan_min(lows[threadIdx.x], lows[threadIdx.x + half]);
      highs[threadIdx.x] = nan_max(highs[threadIdx.x], highs[threadIdx.x + half]);
    }
  }
  __syncthreads();
  const Grid grid = rtn.symmetric ? symmetric_grid(lows[0], highs[0], rtn) : asymmetric_grid(lows[0], highs[0], rtn);
  for (int64_t i = threadIdx.x; i < group_size; i += kThreads) {
    const float code = rintf(load(in, begin + i) / grid.scale) + grid.zero;
    store(out, begin + i, (nan_min(nan_max(code, grid.low), grid.high) - grid.zero) * grid.scale);
  }
}

template <class T>
void launch(const void* in, void* out, int64_t groups, int64_t group_size, const RtnGrid& grid) {
  rtn_kernel<T>
      <<<static_cast<unsigned>(groups), kThreads>>>(static_cast<const T*>(in), static_cast<T*>(out), group_size, grid);
}

}  // namespace

const char* rtn_fake_quant(const void* in, void* out, Element element, int64_t groups, int64_t group_size,
                           const RtnGrid& grid) {
  switch (element) {
    case Element::float32: launch<float>(in, out, groups, group_size, grid); break;
    case Element::bfloat16: launch<__nv_bfloat16>(in, out, groups, group_size, grid); break;
    case Element::float16: launch<__half>(in, out, groups, group_size, grid); break;
  }
  return launch_error();
}

}  // namespace qroar::ops::kernels
