// Quantiles of |x| over a stream of tensors, and the tail-inflation ratios computed from them (docs/method.md 3.4, our
// definition).
#pragma once
#include "diagnostics/heads.h"
#include "eval/evaluate.h"

namespace qroar {

/// Counts |x| by the upper 16 bits of its float32 pattern: bins of one sign, 128 per octave.  Deterministic, and 256
/// KiB for any number of values.  float64 values are rounded to float32 first.
class MagnitudeHistogram {
 public:
  /// Adds a tensor of any shape and floating dtype; always on the same device.
  void add(const at::Tensor& x);

  int64_t count() const;
  /// Returns Q_p: the middle of the bin with the smallest value that a fraction p of all values, 0 < p <= 1, does not
  /// exceed. The relative error is at most 2^-8 unless the value is subnormal; a value of 0 gives 0.  Throws an
  /// InternalError for an empty histogram.
  double quantile(double p) const;
  /// Returns the number of values above c, which is rounded up to the end of its bin: comparable between histograms at
  /// the same c.
  int64_t count_above(double c) const;
  double fraction_above(double c) const;

 private:
  /// Copies the counts to the CPU, once per query.
  at::Tensor counts() const { return counts_.to(at::kCPU); }

  at::Tensor counts_;  ///< [2^15], int64
};

/// Returns a / b, where b = 0 counts as the smallest normal float32; 1 where both are equal.
double tail_ratio(double a, double b);

/// The tail inflation of one band of one layer's queries or keys at one p; "short" and "long" are the two sets of
/// windows.
struct TailInflation {
  std::size_t layer = 0;
  bool is_key = false;
  int64_t band = 0;
  double p = 0;
  int64_t short_count = 0, long_count = 0;       ///< number of values behind each quantile
  double short_quantile = 0, long_quantile = 0;  ///< Q_p of |x W_b|, before RoPE
  double weight_ratio = 0;                       ///< TIR_W = long_quantile / short_quantile
  double clip = 0;                               ///< c_b: Q_p after RoPE on short windows
  int64_t short_above = 0, long_above = 0;       ///< number of values beyond the clip, after RoPE
  /// TIR_A = Pr[|a_b| > c_b; long] / max(eps, Pr[|a_b| > c_b; short]) with eps = 1 / short_count: this bounds the ratio
  /// by what a single value beyond the clip would give.
  double activation_ratio = 0;
};

/// Runs two sets of windows through the model, each window at the angles of its own length.  `edges`: rope/bands.h.
/// The result is ordered by layer, queries before keys, band, then p.  Memory: a forward and 1 MiB per layer, band, and
/// one of q and k.
std::vector<TailInflation> tail_inflation(const Llama& model, const AnglesOf& angles_of,
                                          const std::vector<at::Tensor>& short_windows_T,
                                          const std::vector<at::Tensor>& long_windows_T,
                                          const std::vector<int64_t>& edges, const std::vector<double>& ps);

/// Returns the histograms of every band at every place, over all windows.
std::map<HeadsPlace, std::vector<MagnitudeHistogram>> head_histograms(const Llama& model, const AnglesOf& angles_of,
                                                                      const std::vector<at::Tensor>& windows_T,
                                                                      const std::vector<int64_t>& edges);

}  // namespace qroar
