// I input channels, O output channels.
#include <ATen/Parallel.h>

#include <algorithm>

#include "ops/cpu/lanes.h"
#include "ops/cpu/one_row.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kElements = 1 << 15;  // of weights per task at least

/// Of a linear layer: rows of weights, and what comes of them.
struct Rows {
  const Bf16* weights;
  int64_t stride;
  const Bf16* bias;  ///< null where there is none
  Bf16* out;

  Rows from(int64_t row) const {
    return {weights + row * stride, stride, bias == nullptr ? nullptr : bias + row, out + row};
  }
};

/// x . row of kStreams rows that lie `apart`, x as in_pairs() gives it.
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

/// Rows far apart are read side by side: four streams bring a quarter more through than one.
QROAR_CLONES void dot_rows(const Rows& rows, int64_t row_count, const float* x, int64_t count) {
  constexpr int kStreams = 4;
  const int64_t apart = row_count / kStreams;
  for (int64_t r = 0; r < apart; ++r) dot<kStreams>(rows.from(r), apart, x, count);
  for (int64_t r = kStreams * apart; r < row_count; ++r) dot<1>(rows.from(r), 0, x, count);
}

}  // namespace

bool can_be_one_row(const at::Tensor& x_TI, const at::Tensor& weight_OI) {
  return x_TI.size(0) == 1 && is_bfloat16_on_cpu(x_TI) && is_bfloat16_on_cpu(weight_OI);
}

std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights) {
  const int64_t inputs = x_1I.size(1);
  const std::vector<float> x = in_pairs(bits(x_1I), inputs, 1);
  std::vector<at::Tensor> outputs, biases;
  std::vector<Rows> rows;
  int64_t all = 0;
  for (const Weights& one : weights) {
    outputs.push_back(at::empty({1, one.weight_OI.size(0)}, x_1I.options()));
    biases.push_back(one.bias_O.defined() ? one.bias_O.contiguous() : at::Tensor());
    rows.push_back({bits(one.weight_OI), one.weight_OI.stride(0),
                    biases.back().defined() ? bits(biases.back()) : nullptr,
                    static_cast<Bf16*>(outputs.back().mutable_data_ptr())});
    all += one.weight_OI.size(0);
  }
  at::parallel_for(0, all, std::max<int64_t>(1, kElements / inputs), [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // of the rows of this layer, among all
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const int64_t count = weights[i].weight_OI.size(0);
      const int64_t from = std::clamp<int64_t>(begin - first, 0, count),
                    to = std::clamp<int64_t>(end - first, 0, count);
      dot_rows(rows[i].from(from), to - from, x.data(), inputs);
      first += count;
    }
  });
  return outputs;
}

}  // namespace qroar::ops::cpu
