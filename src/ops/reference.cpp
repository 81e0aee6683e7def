// The definition of every op in plain ATen, for any device and dtype.  Slow on purpose where that is shorter.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/ops.h"

namespace qroar::ops::reference {
namespace {

/// The dtype that sums and exponentials are taken in.
at::ScalarType wide_dtype(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

/// Rows of queries whose scores exist at once: [H, kQueryRows, T] is all that attention keeps besides its output.
constexpr int64_t kQueryRows = 256;

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  const at::Tensor wide = x_TD.to(wide_dtype(x_TD));
  const at::Tensor scale = at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
  return (wide * scale).to(x_TD.scalar_type()) * weight_D;
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) {
  const int64_t pairs = x_THd.size(-1) / 2;
  const at::Tensor wide = x_THd.to(wide_dtype(x_THd));
  const at::Tensor a = wide.narrow(-1, 0, pairs), b = wide.narrow(-1, pairs, pairs);
  const at::Tensor cos = angles.cos_TP.unsqueeze(1), sin = angles.sin_TP.unsqueeze(1);
  x_THd.copy_(at::cat({a * cos - b * sin, b * cos + a * sin}, -1));
}

at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  const int64_t tokens = q_THd.size(0), heads = q_THd.size(1), dim = q_THd.size(2), kv_heads = k_TKd.size(1);
  const auto dtype = wide_dtype(q_THd);
  const at::Tensor k_K1Td = k_TKd.to(dtype).permute({1, 0, 2}).unsqueeze(1);
  const at::Tensor v_K1Td = v_TKd.to(dtype).permute({1, 0, 2}).unsqueeze(1);
  const at::Tensor position = at::arange(tokens, q_THd.options().dtype(at::kLong));
  at::Tensor out_THd = at::empty({tokens, heads, dim}, q_THd.options());
  for (int64_t begin = 0; begin < tokens; begin += kQueryRows) {
    const int64_t rows = std::min(kQueryRows, tokens - begin), seen = begin + rows;
    const at::Tensor q = q_THd.narrow(0, begin, rows).to(dtype).view({rows, kv_heads, heads / kv_heads, dim});
    at::Tensor scores = at::matmul(q.permute({1, 2, 0, 3}) / std::sqrt(static_cast<double>(dim)),
                                   k_K1Td.narrow(2, 0, seen).transpose(2, 3));  // [K, H/K, rows, seen]
    const at::Tensor future = position.narrow(0, 0, seen).unsqueeze(0) > position.narrow(0, begin, rows).unsqueeze(1);
    scores.masked_fill_(future, -std::numeric_limits<double>::infinity());
    const at::Tensor mixed = at::matmul(at::softmax(scores, -1), v_K1Td.narrow(2, 0, seen));
    out_THd.narrow(0, begin, rows).copy_(mixed.permute({2, 0, 1, 3}).reshape({rows, heads, dim}));
  }
  return out_THd;
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  return at::silu(gate_TF.to(wide_dtype(gate_TF))).to(gate_TF.scalar_type()) * up_TF;
}

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  const at::Tensor wide = logits_TV.to(wide_dtype(logits_TV));
  const at::Tensor top = wide.amax(-1, /*keepdim=*/true);
  const at::Tensor log_sum = at::exp(wide - top).sum(-1, /*keepdim=*/false, at::kDouble).log();
  const at::Tensor margin = top - wide.gather(-1, targets_T.unsqueeze(-1));
  return log_sum + margin.squeeze(-1).to(at::kDouble);
}

}  // namespace qroar::ops::reference
