// R query rows of a block, G query heads of a key/value head, N keys, d head_dim.
#include "diagnostics/attention_rows.h"

#include "diagnostics/heads.h"

namespace qroar {

at::Tensor visible_keys(const at::Tensor& rows_R, int64_t N, const ops::AttentionOptions& options) {
  const at::Tensor distance_RN = rows_R.unsqueeze(1) - at::arange(N, rows_R.options());
  const at::Tensor before_RN = distance_RN >= 0;
  return options.limits(N) ? before_RN.logical_and(distance_RN < options.sliding_window) : before_RN;
}

AttentionRows::AttentionRows(const Attended& full, const Attended& model, const at::Tensor& rows_R, int64_t N)
    : full_(full),
      model_(model),
      rows_R_(rows_R),
      N_(N),
      visible_R1N_(visible_keys(rows_R, N, full.options).unsqueeze(1)),
      hidden_R1N_(visible_R1N_.logical_not()),
      seen_R11_(visible_R1N_.sum(2, /*keepdim=*/true)) {}

AttentionRows::All AttentionRows::over_heads(const std::vector<int64_t>& edges) const {
  All sums{zeros({3, rows_R_.size(0), N_}), zeros({rows_R_.size(0)}), zeros({std::ssize(edges) - 1, 4})};
  for (int64_t head = 0; head < full_.k_TKd.size(1); ++head) {
    const at::Tensor full_RGN = logits_RGN(full_, head, {}), model_RGN = logits_RGN(model_, head, {});
    const Softmax full = attention(full_RGN), model = attention(model_RGN);
    sums.pairs_3RN[0] += size_RN(model_RGN - full_RGN);
    sums.pairs_3RN[1] += size_RN(full_RGN);
    sums.pairs_3RN[2] += moved_RGN(full, model).sum(1);
    sums.kl_R += kl_RGN(full, model).sum({1, 2});
    for (int64_t band = 0; band < sums.band_B4.size(0); ++band) {
      const auto at = static_cast<std::size_t>(band);
      const std::pair pairs{edges[at], edges[at + 1]};
      const at::Tensor own_RGN = logits_RGN(full_, head, pairs), error_RGN = logits_RGN(model_, head, pairs) - own_RGN;
      const Softmax of_band = attention(full_RGN + error_RGN);
      sums.band_B4[band] += at::stack({size_RN(error_RGN).sum(), size_RN(own_RGN).sum(), kl_RGN(full, of_band).sum(),
                                       moved_RGN(full, of_band).sum()});
    }
  }
  return sums;
}

at::Tensor AttentionRows::kl_RGN(const Softmax& full, const Softmax& model) const {
  return (full.log_p_RGN - model.log_p_RGN).mul_(full.p_RGN).masked_fill_(hidden_R1N_, 0);
}

at::Tensor AttentionRows::moved_RGN(const Softmax& full, const Softmax& model) {
  return (model.p_RGN - full.p_RGN).abs_().div_(2);
}

at::Tensor AttentionRows::logits_RGN(const Attended& seen, int64_t head,
                                     std::optional<std::pair<int64_t, int64_t>> band) const {
  const int64_t R = rows_R_.size(0), K = seen.k_TKd.size(1), G = seen.q_THd.size(1) / K, d = seen.q_THd.size(2);
  at::Tensor q_RGd = seen.q_THd.slice(1, head * G, (head + 1) * G).index_select(0, rows_R_),
             k_N1d = seen.k_TKd.slice(0, 0, N_).slice(1, head, head + 1);
  if (band) {
    const auto chosen = [&](const at::Tensor& x) {
      return band_of(x.slice(-1, 0, 2 * seen.pairs), band->first, band->second).flatten(2);
    };
    q_RGd = chosen(q_RGd);
    k_N1d = chosen(k_N1d);
  }
  const auto wide = ops::wide_dtype(q_RGd);
  return at::matmul(q_RGd.to(wide).flatten(0, 1), k_N1d.select(1, 0).to(wide).t()).view({R, G, N_}) /
         seen.options.divisor(d);
}

at::Tensor AttentionRows::size_RN(const at::Tensor& x_RGN) const {
  const at::Tensor mean_RG1 = x_RGN.masked_fill(hidden_R1N_, 0).sum({2}, /*keepdim=*/true, at::kDouble) / seen_R11_;
  return (x_RGN - mean_RG1.to(x_RGN.scalar_type()))
      .abs_()
      .masked_fill_(hidden_R1N_, 0)
      .sum(1, /*keepdim=*/false, at::kDouble);
}

AttentionRows::Softmax AttentionRows::attention(const at::Tensor& logits_RGN) const {
  constexpr double kHidden = -1e300;  // finite, so that no difference of two is NaN
  const at::Tensor log_p_RGN = at::log_softmax(
      logits_RGN.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true).masked_fill_(hidden_R1N_, kHidden), -1);
  return {log_p_RGN, log_p_RGN.exp()};
}

at::Tensor AttentionRows::zeros(at::IntArrayRef shape) const {
  return at::zeros(shape, full_.q_THd.options().dtype(at::kDouble));
}

}  // namespace qroar
