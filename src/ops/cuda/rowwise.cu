// RMS norm, RoPE, SwiGLU's product and token losses on the GPU, each in one pass over memory (ATen needs six to ten);
// contracts in ops/ops.h.  Built with --fmad=false: RoPE is bitwise equal to the definition; the others differ from it
// in the order of sums and in the exponential (expf: 1 ulp).
#include "ops/cuda/row.cuh"

namespace qroar::ops::kernels {
namespace {

/// A block per row.
template <class T, int kLanes>
__global__ void rms_norm_kernel(const Chunk<T, kLanes>* x, const Chunk<T, kLanes>* weight, Chunk<T, kLanes>* out,
                                int64_t chunks, float eps) {
  rms_norm_row(x + blockIdx.x * chunks, weight, out + blockIdx.x * chunks, chunks, eps);
}

/// A thread per chunk of a head's lower half and the corresponding chunk of the upper half.
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
    float x_low = load(a.lanes, lane), x_high = load(b.lanes, lane);
    rotate_pair(x_low, x_high, c, s);
    store(a.lanes, lane, x_low);
    store(b.lanes, lane, x_high);
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
    store(chunk.lanes, lane, silu_mul_one<T>(load(chunk.lanes, lane), load(other.lanes, lane)));
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

/// Calls `run` with a chunk of 16 bytes or of one element.
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
