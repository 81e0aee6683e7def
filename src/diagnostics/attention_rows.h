// Attention logits of some queries in two models: noise, and what it does to the attention (docs/method.md 3.7).
#pragma once
#include <ATen/ATen.h>

#include <optional>
#include <utility>
#include <vector>

#include "ops/ops.h"

namespace qroar {

/// Queries [T, H, d] and keys [T, K, d] of a layer, as its attention reads them.
struct Attended {
  at::Tensor q_THd, k_TKd;
  ops::AttentionOptions options;
  int64_t pairs = 0;  ///< of RoPE
};

/// Returns which of keys 0..N-1 the queries at some positions see, [R, N].
at::Tensor visible_keys(const at::Tensor& rows_R, int64_t N, const ops::AttentionOptions& options);

/// Queries at some rows of one layer, with keys 0..N-1, in both models.  Sums over heads are in float64.  Logits, and
/// their errors, are taken less their mean over a query's keys.
class AttentionRows {
 public:
  /// `rows_R`: int64 on the device, each below N.  Keeps references to both.
  AttentionRows(const Attended& full, const Attended& model, const at::Tensor& rows_R, int64_t N);

  /// Sums over heads.
  struct All {
    at::Tensor
        pairs_3RN;    ///< of a query and a key: |l_model - l_full|, |l_full|, |p_model - p_full| / 2; 0 for later keys
    at::Tensor kl_R;  ///< KL(full || model) of a query's attention, nats
    /// Of bands of RoPE pairs, over queries and keys, too: |l_model - l_full| and |l_full| of the part of the logits
    /// that the band contributes, and KL(full || p) in nats and |p - p_full| / 2, where attention p has this part from
    /// the model and all others from full precision.
    at::Tensor band_B4;
  };
  /// Works head by head, so that individual logits need only [R*G, N].  `edges`: where bands begin and end.
  All over_heads(const std::vector<int64_t>& edges) const;

  /// Returns which keys a query sees, [R, 1, N].
  const at::Tensor& visible_R1N() const { return visible_R1N_; }

 private:
  at::Tensor zeros(at::IntArrayRef shape) const;
  /// Returns the logits of the query heads of one key/value head, of all pairs or those of a band.
  at::Tensor logits_RGN(const Attended& seen, int64_t head, std::optional<std::pair<int64_t, int64_t>> band) const;
  /// Returns |x - its mean over a query's keys|, summed over query heads in float64; 0 for keys that come later.
  at::Tensor size_RN(const at::Tensor& x_RGN) const;
  /// Attention in float64, with its logarithm, which keeps a small KL above the rounding of its terms.
  struct Softmax {
    at::Tensor log_p_RGN, p_RGN;
  };
  Softmax attention(const at::Tensor& logits_RGN) const;
  /// Returns the terms of KL(full || model), whose sum over keys it is, and |p_model - p_full| / 2.
  at::Tensor kl_RGN(const Softmax& full, const Softmax& model) const;
  static at::Tensor moved_RGN(const Softmax& full, const Softmax& model);

  const Attended &full_, &model_;
  at::Tensor rows_R_;
  int64_t N_;
  at::Tensor visible_R1N_, hidden_R1N_, seen_R11_;
};

}  // namespace qroar
