// 4-bit code books (NF4, FP4, AF4) on the GPU, fused: absmax of a block, code of every element, decoding.  The contract
// is in ops/codebook.h; bitwise equal to ops::reference::codebook_fake_quant.  One warp per block; the maximum is exact
// in any order.  Built with --fmad=false and IEEE division.
#include "ops/cuda/element.cuh"
#include "ops/cuda/kernels.h"

namespace qroar::ops::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 8;  // warps of a thread block

template <class T>
__global__ void codebook_kernel(const T* in, T* out, int64_t count, int64_t block, CodeBook book) {
  // The code differs between threads: shared memory serves such reads in parallel, parameters serialize them.
  __shared__ float codes[16];
  if (threadIdx.x < 16) codes[threadIdx.x] = book.codes[threadIdx.x];
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp) * block;
  const int64_t end = begin + block < count ? begin + block : count;
  float absmax = 0.0f;
  for (int64_t i = begin + lane; i < end; i += kWarp) absmax = nan_max(absmax, fabsf(load(in, i)));
  for (int half = kWarp / 2; half > 0; half /= 2) {
    absmax = nan_max(absmax, __shfl_xor_sync(0xffffffffu, absmax, half));
  }
  const float inverse = 1.0f / nan_max(absmax, 1e-38f);
  for (int64_t i = begin + lane; i < end; i += kWarp) {
    const float x = load(in, i) * inverse;
    int code = 0;
    for (const float threshold : book.thresholds) code += x > threshold;
    store(out, i, codes[code] * absmax);
  }
}

template <class T>
void launch(const void* in, void* out, int64_t count, int64_t block, const CodeBook& book) {
  const int64_t blocks = (count + block - 1) / block;
  codebook_kernel<T><<<static_cast<unsigned>((blocks + kWarps - 1) / kWarps), kWarps * kWarp>>>(
      static_cast<const T*>(in), static_cast<T*>(out), count, block, book);
}

}  // namespace

const char* codebook_fake_quant(const void* in, void* out, Element element, int64_t count, int64_t block,
                                const CodeBook& book) {
  with_type(element, [&](auto zero) { launch<decltype(zero)>(in, out, count, block, book); });
  return launch_error();
}

}  // namespace qroar::ops::kernels
