#include "ops/cpu/rowwise.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ops/cpu/row_steps.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kLanes = 16;          // sums have this many lanes, added at the end
constexpr int64_t kElements = 1 << 14;  // minimum per task

template <class Sum>
Sum join(const Sum (&lanes)[kLanes]) {
  Sum sum = 0;
  for (const Sum lane : lanes) sum += lane;
  return sum;
}

template <class T>
QROAR_CLONES float sum_of_squares(const T* x, int64_t count) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = std::fma(widen(x[i + l]), widen(x[i + l]), lanes[l]);
  }
  for (int64_t l = 0; i + l < count; ++l) lanes[l] = std::fma(widen(x[i + l]), widen(x[i + l]), lanes[l]);
  return join(lanes);
}

template <class T>
QROAR_CLONES void scale_row(const T* x, const T* weight, float scale, T* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = narrow<T>(widen(narrow<T>(widen(x[i]) * scale)) * widen(weight[i]));
  }
}

template <class T>
QROAR_CLONES void rotate_pairs(T* __restrict low, T* __restrict high, const float* cos, const float* sin,
                               int64_t pairs) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = widen(low[i]), b = widen(high[i]);
    low[i] = narrow<T>(a * cos[i] - b * sin[i]);
    high[i] = narrow<T>(b * cos[i] + a * sin[i]);
  }
}

template <class T>
QROAR_CLONES void silu_mul_channels(const T* gate, const T* up, T* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = widen(gate[i]);
    out[i] = narrow<T>(widen(narrow<T>(g / (1.0f + exp_fast(-g)))) * widen(up[i]));
  }
}

/// Returns the largest element; ignores NaNs, which the sum of exponentials propagates.
template <class T>
QROAR_CLONES float row_max(const T* x, int64_t count) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = widen(x[i + l]) > lanes[l] ? widen(x[i + l]) : lanes[l];
  }
  for (int64_t l = 0; i + l < count; ++l) lanes[l] = std::max(lanes[l], widen(x[i + l]));
  return *std::max_element(lanes, lanes + kLanes);
}

template <class T>
QROAR_CLONES double sum_of_exponentials(const T* x, int64_t count, float top) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += exp_fast(widen(x[i + l]) - top);
  }
  for (int64_t l = 0; i + l < count; ++l) lanes[l] += exp_fast(widen(x[i + l]) - top);
  return join(lanes);
}

/// Returns a pointer to row i of a tensor of two or more dimensions whose last one is contiguous.
template <class T>
T* row(const at::Tensor& x, int64_t i) {
  return static_cast<T*>(x.data_ptr()) + i * x.stride(0);
}

/// Calls body(zero of the element type, first row, last row) on all threads.
template <class Body>
void over_rows(const at::Tensor& x, const Body& body) {
  const int64_t rows = x.size(0), grain = std::max<int64_t>(1, kElements * rows / std::max<int64_t>(1, x.numel()));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    x.scalar_type() == at::kFloat ? body(float{}, begin, end) : body(Bf16{}, begin, end);
  });
}

}  // namespace

template <class T>
void rms_norm_row(const T* x, const T* weight, double eps, T* out, int64_t count) {
  const float mean = sum_of_squares(x, count) / static_cast<float>(count);
  scale_row(x, weight, 1.0f / std::sqrt(mean + static_cast<float>(eps)), out, count);
}

template <class T>
void rotate_head(T* head, const float* cos, const float* sin, int64_t pairs) {
  rotate_pairs(head, head + pairs, cos, sin, pairs);
}

template <class T>
void silu_mul_row(const T* gate, const T* up, T* out, int64_t count) {
  silu_mul_channels(gate, up, out, count);
}

template void rms_norm_row<Bf16>(const Bf16*, const Bf16*, double, Bf16*, int64_t);
template void rotate_head<Bf16>(Bf16*, const float*, const float*, int64_t);
template void silu_mul_row<Bf16>(const Bf16*, const Bf16*, Bf16*, int64_t);

bool supports_rowwise(at::TensorList tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [&](const at::Tensor& x) {
    return x.is_cpu() && x.stride(-1) == 1 && x.scalar_type() == tensors[0].scalar_type() &&
           (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
  });
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  at::Tensor out_TD = at::empty(x_TD.sizes(), x_TD.options());
  const int64_t dim = x_TD.size(1);
  over_rows(x_TD, [&]<class T>(T, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      rms_norm_row(row<T>(x_TD, t), row<T>(weight_D, 0), eps, row<T>(out_TD, t), dim);
    }
  });
  return out_TD;
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) {
  const int64_t heads = x_THd.size(1), pairs = angles.cos_TP.size(1);
  check(angles.cos_TP.scalar_type() == at::kFloat && supports_rowwise({angles.cos_TP, angles.sin_TP}),
        "RoPE angles are float32");
  over_rows(x_THd, [&]<class T>(T, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *cos = row<float>(angles.cos_TP, t), *sin = row<float>(angles.sin_TP, t);
      for (int64_t h = 0; h < heads; ++h) {
        rotate_head(row<T>(x_THd, t) + h * x_THd.stride(1), cos, sin, pairs);
      }
    }
  });
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  at::Tensor out_TF = at::empty(gate_TF.sizes(), gate_TF.options());
  over_rows(gate_TF, [&]<class T>(T, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      silu_mul_row(row<T>(gate_TF, t), row<T>(up_TF, t), row<T>(out_TF, t), gate_TF.size(1));
    }
  });
  return out_TF;
}

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  const int64_t vocabulary = logits_TV.size(1);
  const at::Tensor targets = targets_T.contiguous();
  at::Tensor nll_T = at::empty(targets.sizes(), targets.options().dtype(at::kDouble));
  over_rows(logits_TV, [&]<class T>(T, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const T* logits = row<T>(logits_TV, t);
      const int64_t target = targets.const_data_ptr<int64_t>()[t];
      check(0 <= target && target < vocabulary, "a target lies outside the vocabulary");
      const float top = row_max(logits, vocabulary);
      const double log_sum = std::log(sum_of_exponentials(logits, vocabulary, top));
      nll_T.data_ptr<double>()[t] = log_sum + (static_cast<double>(top) - widen(logits[target]));
    }
  });
  return nll_T;
}

}  // namespace qroar::ops::cpu
