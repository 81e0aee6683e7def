// Attention with a sliding window and a scaling of its own, and RoPE over a part of a head, against their definitions.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "ops/ops.h"
#include "support/catch.h"

namespace qroar {
namespace {

at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

/// The definition by a mask of [T, N], without any block.
at::Tensor by_mask(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                   const ops::AttentionOptions& options) {
  const int64_t T = q_THd.size(0), N = k_NKd.size(0), group = q_THd.size(1) / k_NKd.size(1), d = q_THd.size(2);
  const double scaling = options.scaling == 0 ? 1 / std::sqrt(static_cast<double>(d)) : options.scaling;
  const at::Tensor q_HTd = wide(q_THd).transpose(0, 1), k_HNd = wide(k_NKd).repeat_interleave(group, 1).transpose(0, 1),
                   v_HNd = wide(v_NKd).repeat_interleave(group, 1).transpose(0, 1);
  const at::Tensor distance_TN = at::arange(N - T, N).unsqueeze(1) - at::arange(N).unsqueeze(0);
  const int64_t window = options.sliding_window == 0 ? N : options.sliding_window;
  const at::Tensor hidden_TN = (distance_TN < 0).logical_or(distance_TN >= window);
  const at::Tensor scores_HTN = at::matmul(q_HTd, k_HNd.transpose(1, 2)) * scaling;
  return at::matmul(at::softmax(scores_HTN.masked_fill(hidden_TN, -INFINITY), -1), v_HNd).transpose(0, 1);
}

struct Type {
  at::ScalarType dtype;
  double rounding;  ///< of a number of the dtype
  double sums;      ///< of a number of the dtype of scores and sums
};
const std::vector<Type> kTypes{{at::kDouble, 0x1p-53, 0x1p-53},
                               {at::kFloat, 0x1p-24, 0x1p-24},
                               {at::kHalf, 0x1p-11, 0x1p-24},
                               {at::kBFloat16, 0x1p-8, 0x1p-24}};

const std::vector<int64_t> kWindows{1, 2, 63, 64, 65, 200, 299, 300, 1000};

}  // namespace

TEST_CASE("attention with a sliding window is its definition for all queries, the last ones and one, in every dtype") {
  at::manual_seed(1);
  for (const auto& [dtype, rounding, sums] : kTypes) {
    for (const int64_t dim : {16, 64, 128}) {
      const auto draw = [&](int64_t heads) { return at::randn({300, heads, dim}, at::kDouble).to(dtype); };
      const at::Tensor q = draw(6), k = draw(2), v = draw(2);
      for (const int64_t window : kWindows) {
        for (const double scaling : {0.0, 0.4}) {
          const ops::AttentionOptions options{window, scaling};
          const at::Tensor expected = by_mask(q, k, v, options);
          for (const int64_t queries : {300, 130, 1}) {
            CAPTURE(at::toString(dtype), dim, window, scaling, queries);
            const at::Tensor got = ops::causal_attention(q.slice(0, -queries), k, v, options);
            REQUIRE(got.scalar_type() == dtype);
            // Weights sum to 1: rounding each costs at most one rounding of the largest value, the output another.  A
            // weight's own relative error is the error of its score, a sum of `dim` products of about 1, and of exp2.
            const double of_scores =
                4 * static_cast<double>(dim) * std::max(scaling, 0.25) * sums + 0x1p-17 * (sums / 0x1p-24);
            CHECK((wide(got) - expected.slice(0, -queries)).abs().max().item<double>() <=
                  (2 * rounding + of_scores) * v.abs().max().item<double>());
          }
        }
      }
    }
  }
}

TEST_CASE("a window that sees all keys changes no bit, and threads change none") {
  at::manual_seed(2);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto draw = [&](int64_t heads) { return at::randn({300, heads, 64}, at::kDouble).to(dtype); };
    const at::Tensor q = draw(4), k = draw(2), v = draw(2);
    CHECK(at::equal(ops::causal_attention(q, k, v, {300, 0}), ops::causal_attention(q, k, v)));
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const at::Tensor one = ops::causal_attention(q, k, v, {70, 0});
    at::set_num_threads(3);
    CHECK(at::equal(ops::causal_attention(q, k, v, {70, 0}), one));
    at::set_num_threads(threads);
  }
}

TEST_CASE("the gradient through a sliding window is that of its definition") {
  at::manual_seed(3);
  const auto draw = [&](int64_t heads) { return at::randn({300, heads, 16}, at::kDouble).requires_grad_(); };
  const at::Tensor q = draw(4), k = draw(2), v = draw(2), weights = at::randn({300, 4, 16}, at::kDouble);
  const auto gradients = [&](const at::Tensor& out) {
    for (const at::Tensor& x : {q, k, v}) x.mutable_grad() = at::Tensor();
    (out * weights).sum().backward();
    return at::cat({q.grad().flatten(), k.grad().flatten(), v.grad().flatten()});
  };
  const ops::AttentionOptions options{40, 0.3};
  const at::Tensor expected = gradients(by_mask(q, k, v, options)),
                   got = gradients(ops::causal_attention(q, k, v, options));
  CHECK((got - expected).abs().max().item<double>() < 1e-12);
}

TEST_CASE("near keys and those in the cache are told apart within the window") {
  at::manual_seed(4);
  const auto draw = [&](int64_t heads) { return at::randn({300, heads, 16}, at::kDouble); };
  const at::Tensor q = draw(4), k = draw(2), v = draw(2);
  for (const int64_t window : {3, 20, 300}) {
    for (const int64_t residual : {1, 3, 50, 300}) {
      CAPTURE(window, residual);
      const ops::AttentionOptions options{window, 0};
      CHECK((ops::residual_attention(q, k, v, k, v, residual, options) - by_mask(q, k, v, options))
                .abs()
                .max()
                .item<double>() < 1e-12);
    }
  }
}

TEST_CASE("the pairs of queries and keys are counted as they are seen") {
  for (const int64_t window : {0, 1, 7, 30, 100}) {
    for (const int64_t before : {0, 3, 20}) {
      int64_t counted = 0;
      for (int64_t t = before; t < before + 25; ++t) counted += window == 0 ? t + 1 : std::min(t + 1, window);
      CHECK(ops::AttentionOptions{window, 0}.pairs(25, before) == static_cast<double>(counted));
    }
  }
}

TEST_CASE("rope over a part of a head leaves the rest as it is, and gradients pass") {
  at::manual_seed(5);
  const at::Tensor angle_TP = at::randn({50, 6}, at::kDouble);
  for (const auto& [dtype, rounding, sums] : kTypes) {
    const auto angles_dtype = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const ops::RopeAngles angles{angle_TP.cos().to(angles_dtype), angle_TP.sin().to(angles_dtype)};
    const at::Tensor x_THd = at::randn({50, 3, 32}, at::kDouble).to(dtype);
    at::Tensor turned = x_THd.clone();
    ops::rope_(turned, angles);
    const at::Tensor a = wide(x_THd).slice(2, 0, 6), b = wide(x_THd).slice(2, 6, 12), cos = angle_TP.cos().unsqueeze(1),
                     sin = angle_TP.sin().unsqueeze(1);
    CAPTURE(at::toString(dtype));
    CHECK(
        (wide(turned).slice(2, 0, 12) - at::cat({a * cos - b * sin, b * cos + a * sin}, 2)).abs().max().item<double>() <
        16 * (rounding + sums));
    CHECK(at::equal(turned.slice(2, 12), x_THd.slice(2, 12)));
  }
  const at::Tensor leaf = at::randn({50, 3, 32}, at::kDouble).requires_grad_();
  at::Tensor turned = leaf * 1;
  ops::rope_(turned, {angle_TP.cos(), angle_TP.sin()});
  turned.square().sum().backward();
  CHECK((leaf.grad() - 2 * leaf).abs().max().item<double>() < 1e-12);  // a rotation keeps the norm
}

}  // namespace qroar
