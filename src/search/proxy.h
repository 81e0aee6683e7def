// The cheap objective of the layerwise strategy: how far the attention logits of the quantized model, with scales, are
// from those of the full-precision model.  Ours; not in the papers.
#pragma once
#include "search/journal.h"
#include "search/scoring.h"

namespace qroar {

/// With l_b the part of a logit that band b contributes in the quantized model and a_b the product of its query and key
/// scales, a layer's distortion is sum (sum_b a_b l_b - l)^2 / sum l^2 over sampled queries, their heads and all keys
/// before them: a quadratic form in a.  Every logit has its mean over the query's keys taken off, which softmax does
/// not see.  Rounding that follows the projections (queries, the cache) is not in it.
class LogitDistortion {
 public:
  /// One forward of both models over the windows, layer by layer; [B+1, B+1] a layer is kept, also in the journal.
  LogitDistortion(const SearchInput& input, const std::vector<Window>& windows, const std::vector<int64_t>& edges,
                  Journal& journal);
  /// Mean over the layers.
  double operator()(const BandScales& scales) const;

 private:
  void measure(const SearchInput& input, const std::vector<Window>& windows);

  std::vector<int64_t> edges_;
  std::vector<at::Tensor> forms_;  ///< per layer the Gram matrix of (l_1 .. l_B, l), float64 on the CPU
};

}  // namespace qroar
