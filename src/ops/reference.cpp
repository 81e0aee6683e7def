// The definition of every op in plain ATen, for any device and dtype.  Deliberately slow where that makes it shorter.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/ops.h"

namespace qroar::ops::reference {
namespace {

/// Rows of queries whose scores exist at once: besides its output, attention only stores [H, kQueryRows, T].
constexpr int64_t kQueryRows = 256;

/// Computes causal attention in which keys nearer than `residual` to a query, itself included, are read from the near_
/// tensors.
at::Tensor attention_by_rows(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                             const at::Tensor& near_k_NKd, const at::Tensor& near_v_NKd, int64_t residual,
                             const AttentionOptions& options) {
  const int64_t queries = q_THd.size(0), heads = q_THd.size(1), dim = q_THd.size(2), kv_heads = k_NKd.size(1);
  const int64_t tokens = k_NKd.size(0), before = tokens - queries;
  const int64_t farthest_seen = options.sliding_window > 0 ? options.sliding_window - 1 : tokens;
  const auto dtype = wide_dtype(q_THd);
  const auto by_head = [&](const at::Tensor& x) {
    return x.to(dtype).permute({1, 0, 2}).unsqueeze(1);
  };  // [K, 1, N, d]
  const at::Tensor k = by_head(k_NKd), v = by_head(v_NKd);
  const at::Tensor near_k = residual > 0 ? by_head(near_k_NKd) : at::Tensor();
  const at::Tensor near_v = residual > 0 ? by_head(near_v_NKd) : at::Tensor();
  const at::Tensor position = at::arange(tokens, q_THd.options().dtype(at::kLong));
  at::Tensor out_THd = at::empty({queries, heads, dim}, q_THd.options());
  for (int64_t begin = 0; begin < queries; begin += kQueryRows) {
    const int64_t rows = std::min(kQueryRows, queries - begin), seen = before + begin + rows;
    const at::Tensor q = q_THd.narrow(0, begin, rows).to(dtype).view({rows, kv_heads, heads / kv_heads, dim});
    const at::Tensor scaled_q = q.permute({1, 2, 0, 3}) / options.divisor(dim);
    const at::Tensor row = position.narrow(0, before + begin, rows).unsqueeze(1);
    /// [K, H/K, rows, keys]; keys at first.. whose distance is not in [nearest, farthest] are masked out.
    const auto scores_of = [&](const at::Tensor& keys, int64_t first, int64_t nearest, int64_t farthest) {
      at::Tensor scores = at::matmul(scaled_q, keys.narrow(2, first, seen - first).transpose(2, 3));
      const at::Tensor distance = row - position.narrow(0, first, seen - first).unsqueeze(0);
      return scores.masked_fill_(at::logical_or(distance<nearest, distance> farthest),
                                 -std::numeric_limits<double>::infinity());
    };
    at::Tensor mixed;
    if (residual == 0) {
      mixed = at::matmul(at::softmax(scores_of(k, 0, 0, farthest_seen), -1), v.narrow(2, 0, seen));
    } else {
      const int64_t first_near = std::max<int64_t>(0, before + begin - residual + 1);
      const at::Tensor weights =
          at::softmax(at::cat({scores_of(k, 0, residual, farthest_seen),
                               scores_of(near_k, first_near, 0, std::min(residual - 1, farthest_seen))},
                              -1),
                      -1);
      mixed = at::matmul(weights.narrow(-1, 0, seen), v.narrow(2, 0, seen)) +
              at::matmul(weights.narrow(-1, seen, seen - first_near), near_v.narrow(2, first_near, seen - first_near));
    }
    out_THd.narrow(0, begin, rows).copy_(mixed.permute({2, 0, 1, 3}).reshape({rows, heads, dim}));
  }
  return out_THd;
}

}  // namespace

int64_t attention_bytes(int64_t heads, int64_t kv_heads, int64_t dim, int64_t tokens, at::ScalarType dtype,
                        bool residual) {
  // Scores, them masked or joined, their softmax and its halves; keys and values, and the near ones, in a wide type.
  const int64_t scores = 4 * heads * std::min(kQueryRows, tokens), wide = (residual ? 4 : 2) * kv_heads * dim;
  return tokens * (scores + wide) * (dtype == at::kDouble ? 8 : 4);
}

at::Tensor linear(const at::Tensor& x_TI, const at::Tensor& weight_OI, const at::Tensor& bias_O) {
  const auto wide = wide_dtype(x_TI);
  const at::Tensor product_TO = at::matmul(x_TI.to(wide), weight_OI.to(wide).t());
  return (bias_O.defined() ? product_TO + bias_O.to(wide) : product_TO).to(x_TI.scalar_type());
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  const at::Tensor wide = x_TD.to(wide_dtype(x_TD));
  const at::Tensor scale = at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
  return (wide * scale).to(x_TD.scalar_type()) * weight_D;
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) {
  const int64_t pairs = angles.cos_TP.size(1);
  // A copy: the gradient by the angles needs x as it was.
  const at::Tensor wide = x_THd.to(wide_dtype(x_THd), /*non_blocking=*/false, /*copy=*/true);
  const at::Tensor a = wide.narrow(-1, 0, pairs), b = wide.narrow(-1, pairs, pairs);
  const at::Tensor cos = angles.cos_TP.unsqueeze(1), sin = angles.sin_TP.unsqueeze(1);
  x_THd.copy_(at::cat({a * cos - b * sin, b * cos + a * sin, wide.slice(-1, 2 * pairs)}, -1));
}

at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                            const AttentionOptions& options) {
  return attention_by_rows(q_THd, k_NKd, v_NKd, {}, {}, 0, options);
}

at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual,
                              const AttentionOptions& options) {
  return attention_by_rows(q_THd, cached_k_NKd, cached_v_NKd, exact_k_NKd, exact_v_NKd, residual, options);
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  return at::silu(gate_TF.to(wide_dtype(gate_TF))).to(gate_TF.scalar_type()) * up_TF;
}

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  const at::Tensor wide = logits_TV.to(wide_dtype(logits_TV));
  const at::Tensor top = wide.amax(-1, /*keepdim=*/true);
  const at::Tensor log_sum = at::exp(wide - top).sum(-1, /*keepdim=*/false, at::kDouble).log();
  const at::Tensor margin = top.to(at::kDouble) - wide.gather(-1, targets_T.unsqueeze(-1)).to(at::kDouble);
  return log_sum + margin.squeeze(-1);
}

void add_gram(at::Tensor& sum_II, const at::Tensor& x_RI) {
  const at::Tensor x = x_RI.to(at::kDouble);
  sum_II += x.t().matmul(x).to(at::kFloat);
}

}  // namespace qroar::ops::reference
