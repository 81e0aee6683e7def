// RMS norm, RoPE, SwiGLU's product and token losses on the GPU, each in one pass over memory (ATen takes six to ten);
// contracts in ops/ops.h.  Built with --fmad=false: RoPE equals the definition bit for bit; the others differ from it
// in the order of sums and in the exponential (expf: 1 ulp).
#include "ops/kernels.h"
#include "ops/kernels/element.cuh"

namespace qroar::ops::kernels {
namespace {

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

/// Over all threads of the block, which all get it; in the same order every time.  May be called once per type.
template <class Join, class T>
__device__ T over_block(T x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x = Join()(x, __shfl_xor_sync(0xffffffffu, x, step));
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

/// A block per row.
template <class T, int kLanes>
__global__ void rms_norm_kernel(const Chunk<T, kLanes>* x, const Chunk<T, kLanes>* weight, Chunk<T, kLanes>* out,
                                int64_t chunks, float eps) {
  x += blockIdx.x * chunks;
  out += blockIdx.x * chunks;
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

/// A thread per chunk of a head's lower half and the one of the upper half that it turns with.
template <class T, int kLanes>
__global__ void rope_kernel(T* x, int64_t count, int64_t heads, int64_t chunks, int64_t token_stride,
                            int64_t head_stride, const float* cos, const float* sin) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t first = i % chunks * kLanes, pairs = chunks * kLanes, token = i / chunks / heads;
  T* head = x + token * token_stride + i / chunks % heads * head_stride;
  auto* low = reinterpret_cast<Chunk<T, kLanes>*>(head + first);
  auto* high = reinterpret_cast<Chunk<T, kLanes>*>(head + pairs + first);
  Chunk<T, kLanes> a = *low, b = *high;
  for (int lane = 0; lane < kLanes; ++lane) {
    const float c = cos[token * pairs + first + lane], s = sin[token * pairs + first + lane];
    const float x_low = load(a.lanes, lane), x_high = load(b.lanes, lane);
    store(a.lanes, lane, x_low * c - x_high * s);
    store(b.lanes, lane, x_high * c + x_low * s);
  }
  *low = a;
  *high = b;
}

template <class T, int kLanes>
__global__ void silu_mul_kernel(const Chunk<T, kLanes>* gate, const Chunk<T, kLanes>* up, Chunk<T, kLanes>* out,
                                int64_t chunks) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= chunks) return;
  Chunk<T, kLanes> chunk = gate[i];
  const Chunk<T, kLanes> other = up[i];
  for (int lane = 0; lane < kLanes; ++lane) {
    const float g = load(chunk.lanes, lane);
    store(chunk.lanes, lane, rounded<T>(g / (1.0f + expf(-g))) * load(other.lanes, lane));
  }
  out[i] = chunk;
}

/// A block per row.
template <class T, int kLanes>
__global__ void token_nll_kernel(const Chunk<T, kLanes>* logits, const int64_t* targets, double* nll, int64_t chunks) {
  logits += blockIdx.x * chunks;
  float top = -INFINITY;
  for (int64_t i = threadIdx.x; i < chunks; i += kThreads) {
    const Chunk<T, kLanes> chunk = logits[i];
    for (int lane = 0; lane < kLanes; ++lane) top = nan_max(top, load(chunk.lanes, lane));
  }
  top = over_block<Max>(top);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < chunks; i += kThreads) {
    const Chunk<T, kLanes> chunk = logits[i];
    for (int lane = 0; lane < kLanes; ++lane) sum += static_cast<double>(expf(load(chunk.lanes, lane) - top));
  }
  sum = over_block<Add>(sum);
  if (threadIdx.x == 0) {
    const T* row = reinterpret_cast<const T*>(logits);
    nll[blockIdx.x] = log(sum) + (static_cast<double>(top) - static_cast<double>(load(row, targets[blockIdx.x])));
  }
}

unsigned blocks_of(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

/// Are these addresses, and rows of `elements` behind them, cut into whole chunks of 16 bytes?
template <class T, class... Pointers>
bool in_chunks(int64_t elements, Pointers... pointers) {
  const auto bits = (static_cast<uintptr_t>(elements * sizeof(T)) | ... | reinterpret_cast<uintptr_t>(pointers));
  return bits % 16 == 0;
}

/// Calls run(a T, lanes of a chunk) with the element's type.
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

/// Calls run(a chunk of 16 bytes) or run(a chunk of one element).
template <class T, class Run>
void with_chunk(bool wide, const Run& run) {
  if (wide) {
    run(Chunk<T, 16 / sizeof(T)>{});
  } else {
    run(Chunk<T, 1>{});
  }
}

template <class T, int kLanes>
constexpr int lanes_of(const Chunk<T, kLanes>&) {
  return kLanes;
}

}  // namespace

const char* rms_norm(const void* x, const void* weight, void* out, Element element, int64_t rows, int64_t dim,
                     float eps) {
  if (rows == 0) return nullptr;
  with_type(element, [&](auto zero) {
    using T = decltype(zero);
    with_chunk<T>(in_chunks<T>(dim, x, weight, out), [&](auto chunk) {
      using C = decltype(chunk);
      rms_norm_kernel<<<static_cast<unsigned>(rows), kThreads>>>(
          static_cast<const C*>(x), static_cast<const C*>(weight), static_cast<C*>(out), dim / lanes_of(chunk), eps);
    });
  });
  return launch_error();
}

const char* rope(void* x, Element element, int64_t tokens, int64_t heads, int64_t pairs, int64_t token_stride,
                 int64_t head_stride, const float* cos, const float* sin) {
  if (tokens == 0) return nullptr;
  with_type(element, [&](auto zero) {
    using T = decltype(zero);
    const bool wide = in_chunks<T>(pairs, x) && in_chunks<T>(token_stride) && in_chunks<T>(head_stride);
    with_chunk<T>(wide, [&](auto chunk) {
      constexpr int kLanes = lanes_of(decltype(chunk){});
      const int64_t chunks = pairs / kLanes, count = tokens * heads * chunks;
      rope_kernel<T, kLanes><<<blocks_of(count), kThreads>>>(static_cast<T*>(x), count, heads, chunks, token_stride,
                                                             head_stride, cos, sin);
    });
  });
  return launch_error();
}

const char* silu_mul(const void* gate, const void* up, void* out, Element element, int64_t count) {
  if (count == 0) return nullptr;
  with_type(element, [&](auto zero) {
    using T = decltype(zero);
    with_chunk<T>(in_chunks<T>(count, gate, up, out), [&](auto chunk) {
      using C = decltype(chunk);
      const int64_t chunks = count / lanes_of(chunk);
      silu_mul_kernel<<<blocks_of(chunks), kThreads>>>(static_cast<const C*>(gate), static_cast<const C*>(up),
                                                       static_cast<C*>(out), chunks);
    });
  });
  return launch_error();
}

const char* token_nll(const void* logits, const int64_t* targets, double* nll, Element element, int64_t rows,
                      int64_t vocabulary) {
  if (rows == 0) return nullptr;
  with_type(element, [&](auto zero) {
    using T = decltype(zero);
    with_chunk<T>(in_chunks<T>(vocabulary, logits), [&](auto chunk) {
      using C = decltype(chunk);
      token_nll_kernel<<<static_cast<unsigned>(rows), kThreads>>>(static_cast<const C*>(logits), targets, nll,
                                                                  vocabulary / lanes_of(chunk));
    });
  });
  return launch_error();
}

}  // namespace qroar::ops::kernels
