// The cheap objective of the layerwise strategy: the distance of the attention logits of the quantized model, with
// scales, from those of the full-precision model.  Our definition; it is not in the papers.
#pragma once
#include "search/journal.h"
#include "search/scoring.h"

namespace qroar {

/// With l_b the part of a logit that band b contributes in the quantized model and a_b the product of its query and key
/// scales, a layer's distortion is sum (sum_b a_b l_b - l)^2 / sum l^2 over sampled queries, their heads and all keys
/// before them: a quadratic form in a.  Channels without RoPE are a part of the logits with a = 1.  Each logit is
/// centered by its mean over the query's keys, to which softmax is invariant.  Rounding after the projections (queries,
/// the cache) is not included.
class LogitDistortion {
 public:
  /// Runs one forward of both models over the windows, layer by layer; keeps a matrix per layer, also in the journal.
  LogitDistortion(const SearchInput& input, const std::vector<Window>& windows, const std::vector<int64_t>& edges,
                  Journal& journal);
  /// Returns the mean over the layers.
  double operator()(const BandScales& scales) const;

 private:
  void measure(const SearchInput& input, const std::vector<Window>& windows);

  std::vector<int64_t> edges_;
  /// Per layer the Gram matrix of l_1 .. l_B, the part of channels without RoPE where there are any, and l; float64 on
  /// the CPU.
  std::vector<at::Tensor> forms_;
};

}  // namespace qroar
