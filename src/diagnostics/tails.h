// Exact quantiles of |x|, and the tail-inflation ratios computed from them (docs/method.md 3.4, our definition).
#pragma once
#include "diagnostics/by_document.h"
#include "diagnostics/matched.h"

namespace qroar {

/// Returns Q_p of |x| for every 0 < p <= 1: the smallest magnitude that a fraction p of all does not exceed.  Takes any
/// shape and floating dtype; exact.
std::vector<double> magnitude_quantiles(const at::Tensor& x, const std::vector<double>& ps);

/// Returns ln(a / b) of two magnitudes, each at least the smallest normal float32: 0 where both are 0.
double log_tail_ratio(double a, double b);

/// The tail inflation of one band of one layer's queries or keys at one p: the same tokens in a long context over short
/// ones.
struct TailInflation {
  std::size_t layer = 0;
  bool is_key = false;
  int64_t band = 0;
  double p = 0;
  int64_t count = 0;  ///< number of values in either set
  /// Mean over windows, weighted by tokens, of ln TIR_W = ln(Q_p in long / Q_p in short), before RoPE, and of the ln
  /// Q_p themselves.
  Estimate log_weight_ratio;
  double log_short_quantile = 0, log_long_quantile = 0;
  double log_clip = 0;                      ///< mean of ln c_b, c_b: Q_p after RoPE in a window's short contexts
  int64_t short_above = 0, long_above = 0;  ///< number of values beyond their window's clip, after RoPE
  /// TIR_A = long_above / short_above, where a window counts at least one value above: Pr[|a_b| > c_b; long] over
  /// max(eps, Pr[|a_b| > c_b; short]), with the same number of values in both.
  Estimate activation_ratio;

  double weight_ratio() const;  ///< TIR_W
};

/// Runs windows through the model in long and in short contexts (diagnostics/matched.h).  `edges`: rope/bands.h.  The
/// result is ordered by layer, queries before keys, band, then p.  Quantiles are taken window by window, so that memory
/// is that of a forward and one copy of a layer's queries.
std::vector<TailInflation> tail_inflation(const Llama& model, const AnglesOf& angles_of, const Feed& feed,
                                          const std::vector<ClusterWindow>& windows, int64_t short_length,
                                          const std::vector<int64_t>& edges, const std::vector<double>& ps);

}  // namespace qroar
