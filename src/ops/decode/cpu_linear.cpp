// I input channels, O output channels.
#include <ATen/Parallel.h>

#include <algorithm>

#include "ops/cpu/lanes.h"
#include "ops/cpu/row_steps.h"
#include "ops/decode/cpu.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kElements = 1 << 15;  // minimum number of weights per task

/// Computes the products of x, as written by widen_pairs(), with kStreams rows at a distance of `apart` rows.
template <int kStreams>
QROAR_INLINE void dot(const Rows& rows, int64_t apart, const float* x, int64_t count) {
  Floats even[kStreams] = {}, odd[kStreams] = {};
  int64_t i = 0;
  for (; i + kPair <= count; i += kPair) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < kStreams; ++s) {
      const Pair pair = load_pair(rows.weights + s * apart * rows.stride + i);
      even[s] = fma(pair.even, load(x + i), even[s]);
      odd[s] = fma(pair.odd, load(x + i + kLanes), odd[s]);
    }
  }
  for (int64_t s = 0; s < kStreams; ++s) {
    float sum = join(even[s] + odd[s]);
    for (int64_t k = i; k < count; ++k) sum += widen(rows.weights[s * apart * rows.stride + k]) * x[k];
    if (rows.bias != nullptr) sum += widen(rows.bias[s * apart]);
    rows.out[s * apart] = narrow<Bf16>(sum);
  }
}

/// Reads distant rows in parallel: four streams have a quarter more throughput than one.
QROAR_CLONES void dot_all(const Rows& rows, const float* x, int64_t inputs) {
  constexpr int kStreams = 4;
  const int64_t apart = rows.count / kStreams;
  for (int64_t r = 0; r < apart; ++r) dot<kStreams>(rows.slice(r, rows.count), apart, x, inputs);
  for (int64_t r = kStreams * apart; r < rows.count; ++r) dot<1>(rows.slice(r, rows.count), 0, x, inputs);
}

QROAR_CLONES void widen_all(const Bf16* x, int64_t count, float scale, float* pairs) {
  int64_t i = 0;
  for (; i + kPair <= count; i += kPair) {
    const Pair pair = load_pair(x + i);
    store(pairs + i, pair.even * scale);
    store(pairs + i + kLanes, pair.odd * scale);
  }
  for (; i < count; ++i) pairs[i] = widen(x[i]) * scale;
}

}  // namespace

bool supports_row_linear(const at::Tensor& x_TI, const at::Tensor& weight_OI) {
  return x_TI.size(0) == 1 && is_bfloat16_on_cpu(x_TI) && is_bfloat16_on_cpu(weight_OI);
}

void widen_pairs(const Bf16* x, int64_t count, float scale, float* pairs) { widen_all(x, count, scale, pairs); }

void dot_rows(std::span<const Rows> layers, int64_t begin, int64_t end, const float* pairs, int64_t inputs) {
  int64_t first = 0;  // index of this layer's first row among all rows
  for (const Rows& rows : layers) {
    dot_all(
        rows.slice(std::clamp<int64_t>(begin - first, 0, rows.count), std::clamp<int64_t>(end - first, 0, rows.count)),
        pairs, inputs);
    first += rows.count;
  }
}

std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights) {
  const int64_t inputs = x_1I.size(1);
  const auto pairs = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(inputs));
  widen_pairs(bits(x_1I), inputs, 1, pairs.get());
  std::vector<at::Tensor> outputs, biases;
  std::vector<Rows> layers;
  int64_t all = 0;
  for (const Weights& one : weights) {
    outputs.push_back(at::empty({1, one.weight_OI.size(0)}, x_1I.options()));
    biases.push_back(one.bias_O.defined() ? one.bias_O.contiguous() : at::Tensor());
    layers.push_back({bits(one.weight_OI), one.weight_OI.stride(0),
                      biases.back().defined() ? bits(biases.back()) : nullptr,
                      static_cast<Bf16*>(outputs.back().mutable_data_ptr()), one.weight_OI.size(0)});
    all += one.weight_OI.size(0);
  }
  at::parallel_for(0, all, std::max<int64_t>(1, kElements / inputs),
                   [&](int64_t begin, int64_t end) { dot_rows(layers, begin, end, pairs.get(), inputs); });
  return outputs;
}

}  // namespace qroar::ops::cpu
