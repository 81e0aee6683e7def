// Attention of one token over a cache: each block processes a chunk of keys of a head, and another kernel combines the
// results in order, so that a few heads fill the GPU and the order of sums depends only on the number of keys.  The
// kernel also applies RoPE to the query and the new key, and writes the new row of the cache.
#include "ops/decode/cuda_row.cuh"

namespace qroar::ops::kernels {
namespace {

constexpr int kBlock = 128;
constexpr int kAhead = 4;  // keys that a team of threads loads in advance

/// A block per head and chunk of keys.  A team of threads holds all channels of a head; the keys are distributed over
/// the teams in turn.
template <class T, int kDim>
__global__ void __launch_bounds__(kBlock, 4) attend_kernel(RowQuery in, float* tops, float* sums, float* mixed) {
  constexpr int kLanes = 16 / sizeof(T), kTeam = kDim / kLanes, kTeams = kBlock / kTeam, kPairs = kDim / 2;
  static_assert(kTeam <= kWarp && kPairs <= kBlock);
  const int head = blockIdx.x, part = blockIdx.y, group = static_cast<int>(in.heads / in.kv_heads), kv = head / group;
  const int team = threadIdx.x / kTeam, channel = threadIdx.x % kTeam * kLanes;
  const int64_t begin = part * kRowKeys, end = min(begin + kRowKeys, in.keys), last = in.keys - 1;
  const bool has_new = in.new_key != nullptr && end == in.keys;
  T* const keys = static_cast<T*>(in.key) + kv * in.key_head_stride;
  T* const values = static_cast<T*>(in.value) + kv * in.value_head_stride;
  __shared__ alignas(16) T own_query[kDim], own_key[kDim], own_value[kDim];
  __shared__ float team_tops[kTeams], team_sums[kTeams], team_mixed[kTeams][kDim];

  wait_for_previous_kernel();
  const auto rotated = [&](const void* from, T* to) {  // by the first threads
    const int i = threadIdx.x;
    float low = load(static_cast<const T*>(from), i), high = load(static_cast<const T*>(from), i + kPairs);
    if (in.cos != nullptr) rotate_pair(low, high, in.cos[i], in.sin[i]);
    store(to, i, low);
    store(to, i + kPairs, high);
  };
  if (threadIdx.x < kPairs) {
    rotated(static_cast<const T*>(in.query) + head * kDim, own_query);
    if (has_new) rotated(static_cast<const T*>(in.new_key) + kv * kDim, own_key);
  }
  if (has_new) {
    for (int i = threadIdx.x; i < kDim; i += kBlock) own_value[i] = static_cast<const T*>(in.new_value)[kv * kDim + i];
  }
  __syncthreads();
  if (has_new && head % group == 0) {
    for (int i = threadIdx.x; i < kDim; i += kBlock) {
      keys[last * in.key_token_stride + i] = own_key[i];
      values[last * in.value_token_stride + i] = own_value[i];
    }
  }

  // Loads are kept unconverted until they are used, because converting them would wait for them.
  const auto fetch = [&](int64_t first, uint4* key, uint4* value) {
    for (int a = 0; a < kAhead; ++a) {
      const int64_t i = min(first + a * kTeams, end - 1);
      const bool is_new = has_new && i == last;
      key[a] = *reinterpret_cast<const uint4*>(is_new ? own_key + channel : keys + i * in.key_token_stride + channel);
      value[a] =
          *reinterpret_cast<const uint4*>(is_new ? own_value + channel : values + i * in.value_token_stride + channel);
    }
  };
  float query[kLanes], top = -INFINITY, sum = 0, mix[kLanes] = {};
  for (int k = 0; k < kLanes; ++k) query[k] = load(own_query, channel + k) * in.scale;
  uint4 key[kAhead], value[kAhead], next_key[kAhead], next_value[kAhead];
  fetch(begin + team, key, value);
  // All teams run the same number of iterations, since all threads of a warp take part in every sum over a team.
  for (int64_t first = begin + team; first - team < end; first += kAhead * kTeams) {
    if (first - team + kAhead * kTeams < end) fetch(first + kAhead * kTeams, next_key, next_value);
    float new_top = top, score[kAhead];
    for (int a = 0; a < kAhead; ++a) {
      float product = 0;
      for (int k = 0; k < kLanes; ++k) product = fmaf(query[k], load(reinterpret_cast<const T*>(&key[a]), k), product);
      score[a] = over_threads<Add>(product, kTeam);
      if (first + a * kTeams < end) new_top = fmaxf(new_top, score[a]);
    }
    const float shrink = top == new_top ? 1.0f : expf(top - new_top);
    top = new_top;
    sum *= shrink;
    for (float& one : mix) one *= shrink;
    for (int a = 0; a < kAhead; ++a) {
      const float weight = first + a * kTeams < end ? expf(score[a] - top) : 0.0f;
      sum += weight;
      for (int k = 0; k < kLanes; ++k) mix[k] = fmaf(weight, load(reinterpret_cast<const T*>(&value[a]), k), mix[k]);
      key[a] = next_key[a];
      value[a] = next_value[a];
    }
  }
  if (channel == 0) {
    team_tops[team] = top;
    team_sums[team] = sum;
  }
  for (int k = 0; k < kLanes; ++k) team_mixed[team][channel + k] = mix[k];
  __syncthreads();

  float block_top = team_tops[0], block_sum = 0;
  for (int t = 1; t < kTeams; ++t) block_top = fmaxf(block_top, team_tops[t]);
  const int64_t place = part * in.heads + head;
  for (int i = threadIdx.x; i < kDim; i += kBlock) {
    float all = 0;
    block_sum = 0;
    for (int t = 0; t < kTeams; ++t) {
      const float weight = expf(team_tops[t] - block_top);  // 0 where a team had no key
      block_sum = fmaf(weight, team_sums[t], block_sum);
      all = fmaf(weight, team_mixed[t][i], all);
    }
    mixed[place * kDim + i] = all;
  }
  if (threadIdx.x == 0) {
    tops[place] = block_top;
    sums[place] = block_sum;
  }
}

/// A block per head, a thread per channel; the weights of kDim parts are computed at a time, one per thread.
template <class T, int kDim>
__global__ void __launch_bounds__(kDim)
    join_kernel(const float* tops, const float* sums, const float* mixed, int parts, T* out) {
  __shared__ float warp_tops[kDim / kWarp], weights[kDim], weighted[kDim];
  const int heads = gridDim.x, head = blockIdx.x, i = threadIdx.x;
  wait_for_previous_kernel();
  float top = -INFINITY;
  for (int p = i; p < parts; p += kDim) top = fmaxf(top, tops[p * heads + head]);
  top = over_threads<Max>(top, kWarp);
  if (i % kWarp == 0) warp_tops[i / kWarp] = top;
  __syncthreads();
  for (const float one : warp_tops) top = fmaxf(top, one);
  float sum = 0, all = 0;
  for (int begin = 0; begin < parts; begin += kDim) {
    const int count = min(kDim, parts - begin);
    if (i < count) {
      const int place = (begin + i) * heads + head;
      weights[i] = expf(tops[place] - top);
      weighted[i] = weights[i] * sums[place];
    }
    __syncthreads();
#pragma unroll 8
    for (int p = 0; p < count; ++p) {
      sum += weighted[p];
      all = fmaf(weights[p], mixed[(static_cast<int64_t>(begin + p) * heads + head) * kDim + i], all);
    }
    __syncthreads();
  }
  store(out, head * kDim + i, all / sum);
}

template <class T, int kDim>
void launch(const RowQuery& in, void* scratch, void* out) {
  const DeviceShape shape = device_shape();
  const int64_t parts = row_parts(in.keys), places = parts * in.heads;
  float* const tops = static_cast<float*>(scratch);
  float* const sums = tops + places;
  float* const mixed = sums + places;
  const dim3 grid(static_cast<unsigned>(in.heads), static_cast<unsigned>(parts));
  launch_dependent(shape, attend_kernel<T, kDim>, grid, kBlock, 0, in, tops, sums, mixed);
  launch_dependent(shape, join_kernel<T, kDim>, dim3(grid.x), kDim, 0, tops, sums, mixed, static_cast<int>(parts),
                   static_cast<T*>(out));
}

}  // namespace

const char* attend_row(const RowQuery& in, void* scratch, void* out, Element element) {
  with_type(element, [&](auto zero) {
    using T = decltype(zero);
    if (in.dim == 32) launch<T, 32>(in, scratch, out);
    if (in.dim == 64) launch<T, 64>(in, scratch, out);
    if (in.dim == 128) launch<T, 128>(in, scratch, out);
  });
  return launch_error();
}

}  // namespace qroar::ops::kernels
