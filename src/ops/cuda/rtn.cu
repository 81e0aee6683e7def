// RTN group fake quantization on the GPU; the contract is in ops/rtn.h; bitwise equal to
// ops::reference::rtn_fake_quant.  One kernel serves groups of a cache's head as well as activation rows of 14336: a
// team of threads (part of a warp, or a block) reads its group once in 16-byte chunks, keeps it in shared memory while
// minimum and maximum are reduced (exact in any order), and writes it rounded onto the grid.  Built with --fmad=false
// and IEEE division, so that each operation rounds as it does on the CPU.
#include "ops/cuda/element.cuh"
#include "ops/cuda/kernels.h"

namespace qroar::ops::kernels {
namespace {

constexpr int kThreads = 256, kWarp = 32, kWarps = kThreads / kWarp;
/// Shared memory that a block may use on every device without opting in; groups that need more are read twice.
constexpr int64_t kCacheBytes = 46 << 10;
/// Chunks per thread up to which a part of a warp processes a group: the reduction then needs no barrier.
constexpr int64_t kChunksPerLane = 4;

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

/// Reduces minimum and maximum over the threads of a team; all of them receive the result.  `team` is a power of two up
/// to a warp, whose lanes 0 .. team-1 and so on are teams, or the block.  Every thread of the block must call this.
__device__ void reduce(int team, float& lo, float& hi) {
  for (int step = min(team, kWarp) / 2; step > 0; step /= 2) {
    lo = nan_min(lo, __shfl_xor_sync(0xffffffffu, lo, step));
    hi = nan_max(hi, __shfl_xor_sync(0xffffffffu, hi, step));
  }
  if (team <= kWarp) return;
  __shared__ float lows[kWarps], highs[kWarps];
  if (threadIdx.x % kWarp == 0) {
    lows[threadIdx.x / kWarp] = lo;
    highs[threadIdx.x / kWarp] = hi;
  }
  __syncthreads();
  for (int warp = 0; warp < kWarps; ++warp) {
    lo = nan_min(lo, lows[warp]);
    hi = nan_max(hi, highs[warp]);
  }
}

/// A group has `chunks` chunks; a block of kThreads processes kThreads / team groups, the last block maybe fewer.  With
/// `cached`, dynamic shared memory holds kThreads / team groups; a thread reads back only chunks that it wrote itself.
template <class T, int kLanes>
__global__ void rtn_kernel(const Chunk<T, kLanes>* in, Chunk<T, kLanes>* out, int64_t groups, int64_t chunks, int team,
                           bool cached, RtnGrid rtn) {
  extern __shared__ uint4 shared[];
  const int teams = kThreads / team, own = static_cast<int>(threadIdx.x) / team;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * teams + own;
  const int64_t first = threadIdx.x % team, end = group < groups ? chunks : 0;
  in += group * chunks;
  out += group * chunks;
  auto* cache = reinterpret_cast<Chunk<T, kLanes>*>(shared) + own * chunks;
  float lo = INFINITY, hi = -INFINITY;  // a team without a group only takes part in the reduction
  for (int64_t i = first; i < end; i += team) {
    const Chunk<T, kLanes> chunk = in[i];
    if (cached) cache[i] = chunk;
    for (int lane = 0; lane < kLanes; ++lane) {
      lo = nan_min(lo, load(chunk.lanes, lane));
      hi = nan_max(hi, load(chunk.lanes, lane));
    }
  }
  reduce(team, lo, hi);
  lo *= rtn.clip;
  hi *= rtn.clip;
  const Grid grid = rtn.symmetric ? symmetric_grid(lo, hi, rtn) : asymmetric_grid(lo, hi, rtn);
  for (int64_t i = first; i < end; i += team) {
    Chunk<T, kLanes> chunk;
    if (cached) {
      chunk = cache[i];
    } else {
      chunk = in[i];
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const float code = rintf(load(chunk.lanes, lane) / grid.scale) + grid.zero;
      store(chunk.lanes, lane, (nan_min(nan_max(code, grid.low), grid.high) - grid.zero) * grid.scale);
    }
    out[i] = chunk;
  }
}

template <class T, int kLanes>
void launch(const void* in, void* out, int64_t groups, int64_t group_size, const RtnGrid& grid) {
  const int64_t chunks = group_size / kLanes;
  int team = kThreads;
  if (chunks <= kChunksPerLane * kWarp) {
    team = 1;
    while (team < kWarp && team < chunks) team *= 2;
  }
  const int64_t teams = kThreads / team, blocks = (groups + teams - 1) / teams;
  const int64_t bytes = teams * group_size * static_cast<int64_t>(sizeof(T));
  const bool cached = bytes <= kCacheBytes;
  rtn_kernel<T, kLanes><<<static_cast<unsigned>(blocks), kThreads, cached ? static_cast<std::size_t>(bytes) : 0>>>(
      static_cast<const Chunk<T, kLanes>*>(in), static_cast<Chunk<T, kLanes>*>(out), groups, chunks, team, cached,
      grid);
}

/// Launches the kernel with chunks of 16 bytes where every group begins at a multiple of 16, else of one element.
template <class T>
void launch(const void* in, void* out, int64_t groups, int64_t group_size, const RtnGrid& grid) {
  constexpr int kLanes = 16 / sizeof(T);
  const bool aligned = reinterpret_cast<uintptr_t>(in) % 16 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0;
  if (aligned && group_size % kLanes == 0) {
    launch<T, kLanes>(in, out, groups, group_size, grid);
  } else {
    launch<T, 1>(in, out, groups, group_size, grid);
  }
}

}  // namespace

const char* rtn_fake_quant(const void* in, void* out, Element element, int64_t groups, int64_t group_size,
                           const RtnGrid& grid) {
  with_type(element, [&](auto zero) { launch<decltype(zero)>(in, out, groups, group_size, grid); });
  return launch_error();
}

}  // namespace qroar::ops::kernels
