// Linear layers of one token: every weight is read once, so that memory bandwidth is the limit.  A warp processes one
// row of weights after another, in batches of chunks of 16 bytes, and loads the next batch while it sums one.  Every
// block prepares the input (copied or normed) in shared memory, which costs less than a separate kernel.
#include "ops/decode/cuda_row.cuh"

namespace qroar::ops::kernels {
namespace {

constexpr int kBatch = 4;           // chunks per lane
constexpr int kResidentBlocks = 4;  // per multiprocessor
/// Shared memory that a block may use without opting in.
constexpr int64_t kFreeBytes = 47 << 10;

template <class T>
using Wide = Chunk<T, 16 / sizeof(T)>;

struct Layers {
  RowWeights each[kMaxRowLayers];
  int count;
};

/// The position of a warp: batch `batch` of a row of layer `layer` (one of those that a result is computed from) for
/// result `result`.
struct Place {
  int64_t result;
  int layer, batch;
};

/// Returns the layer of a row of the concatenated layers, and makes `row` its index in that layer.
__device__ const RowWeights& find_row(const Layers& layers, int64_t& row) {
  int layer = 0;
  for (; layer + 1 < layers.count && row >= layers.each[layer].rows; ++layer) row -= layers.each[layer].rows;
  return layers.each[layer];
}

template <class T, RowResult kResult>
__global__ void __launch_bounds__(kThreads, kResidentBlocks)
    linear_row_kernel(RowInput input, const __grid_constant__ Layers layers, T* out, int64_t results) {
  constexpr int kLanes = 16 / sizeof(T);
  constexpr int kOfEach = kResult == RowResult::silu_mul ? 2 : 1;  // rows per result
  extern __shared__ uint4 shared[];
  auto* const x = reinterpret_cast<Wide<T>*>(shared);
  const int lane = threadIdx.x % kWarp, chunks = static_cast<int>(input.size) / kLanes,
            batches = (chunks + kWarp * kBatch - 1) / (kWarp * kBatch);
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;
  Place place{static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp, 0, 0};

  const auto weights_of = [&](const Place& at, int64_t& row) -> const RowWeights& {
    row = at.result;
    return kOfEach == 2 ? layers.each[at.layer] : find_row(layers, row);
  };
  const auto fetch = [&](const Place& at, uint4* batch) {
    if (at.result >= results) return;
    int64_t row;
    const RowWeights& own = weights_of(at, row);
    const auto* chunk = reinterpret_cast<const uint4*>(static_cast<const T*>(own.weights) + row * own.stride);
    for (int b = 0; b < kBatch; ++b) {
      const int i = (at.batch * kBatch + b) * kWarp + lane;
      if (i < chunks) batch[b] = __ldcs(chunk + i);  // streaming load: read only once
    }
  };
  uint4 batch[kBatch], next[kBatch];
  fetch(place, batch);

  wait_for_previous_kernel();
  if (input.norm_weight != nullptr) {
    rms_norm_row(static_cast<const Wide<T>*>(input.x), static_cast<const Wide<T>*>(input.norm_weight), x, chunks,
                 input.eps);
  } else {
    for (int i = threadIdx.x; i < chunks; i += kThreads) x[i] = static_cast<const Wide<T>*>(input.x)[i];
  }
  __syncthreads();

  float sums[kBatch] = {}, gate = 0;
  while (place.result < results) {
    Place then = place;
    if (++then.batch == batches) {
      then.batch = 0;
      if (++then.layer == kOfEach) {
        then.layer = 0;
        then.result += warps;
      }
    }
    fetch(then, next);
    for (int b = 0; b < kBatch; ++b) {
      const int i = (place.batch * kBatch + b) * kWarp + lane;
      if (i >= chunks) continue;
      const Wide<T> own = x[i];
      const T* const weights = reinterpret_cast<const T*>(&batch[b]);
      for (int k = 0; k < kLanes; ++k) sums[b] = fmaf(load(weights, k), load(own.lanes, k), sums[b]);
    }
    if (then.batch == 0) {
      float sum = over_threads<Add>((sums[0] + sums[1]) + (sums[2] + sums[3]), kWarp);
      int64_t row;
      const RowWeights& own = weights_of(place, row);
      if (own.bias != nullptr) sum += load(static_cast<const T*>(own.bias), row);
      const float result = rounded<T>(sum);
      if (lane == 0) {
        if constexpr (kResult == RowResult::store) store(out, place.result, result);
        if constexpr (kResult == RowResult::add) store(out, place.result, load(out, place.result) + result);
        if constexpr (kResult == RowResult::silu_mul) {
          if (place.layer == 1) store(out, place.result, silu_mul_one<T>(gate, result));
        }
      }
      gate = result;
      for (float& one : sums) one = 0;
    }
    for (int b = 0; b < kBatch; ++b) batch[b] = next[b];
    place = then;
  }
}

template <class T, RowResult kResult>
void launch(const RowInput& input, const Layers& layers, void* out, int64_t results) {
  const DeviceShape shape = device_shape();
  const int64_t bytes = input.size * static_cast<int64_t>(sizeof(T)), blocks = (results + kWarps - 1) / kWarps,
                at_once = static_cast<int64_t>(shape.multiprocessors) * kResidentBlocks;
  const auto kernel = linear_row_kernel<T, kResult>;
  if (bytes > kFreeBytes) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  }
  launch_dependent(shape, kernel, dim3(static_cast<unsigned>(blocks < at_once ? blocks : at_once)), kThreads, bytes,
                   input, layers, static_cast<T*>(out), results);
}

}  // namespace

const char* linear_row(const RowInput& input, const RowWeights* each, int count, RowResult result, void* out,
                       Element element) {
  Layers layers{{}, count};
  int64_t rows = 0;
  for (int i = 0; i < count; ++i) {
    layers.each[i] = each[i];
    rows += each[i].rows;
  }
  with_type(element, [&](auto zero) {
    using T = decltype(zero);
    if (result == RowResult::store) launch<T, RowResult::store>(input, layers, out, rows);
    if (result == RowResult::add) launch<T, RowResult::add>(input, layers, out, rows);
    if (result == RowResult::silu_mul) launch<T, RowResult::silu_mul>(input, layers, out, each[0].rows);
  });
  return launch_error();
}

}  // namespace qroar::ops::kernels
