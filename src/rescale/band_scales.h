// Scales of queries and keys per band of RoPE pairs, as data: what `rescale: {type: bands}` applies, what a search
// varies and what a scales file holds.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"
#include "model/llama.h"
#include "rescale/rescaling.h"

namespace qroar {

/// What one number g of a band does.
enum class BandVariant {
  shared,       ///< queries and keys times g: the band's part of an attention logit times g^2
  independent,  ///< a number for queries and one for keys
  symmetric,    ///< queries times g, keys times 1/g: the logits of the full-precision model stay
};
const std::vector<std::pair<std::string, BandVariant>>& band_variants();

struct BandLayout {
  BandVariant variant = BandVariant::shared;
  std::vector<int64_t> edges;  ///< see rope/bands.h
  int64_t layers = 1;          ///< 1: every layer has the same scales; else the model's layers

  int64_t bands() const { return static_cast<int64_t>(edges.size()) - 1; }
  /// Numbers of one layer: a band's, or the queries' bands and then the keys'.
  int64_t row() const { return variant == BandVariant::independent ? 2 * bands() : bands(); }
  int64_t size() const { return layers * row(); }
};

struct BandScales {
  BandLayout layout;
  std::vector<double> g;  ///< [layers, row()], positive

  /// Factors [layers, d/2] in float64 that multiply the channels of a pair; both members of a pair share one, and under
  /// grouped queries a key's is that of all its queries.
  at::Tensor query_LP() const;
  at::Tensor key_LP() const;
};

/// Multiplies the rows of q_proj and k_proj, and their biases, of a view of a model: products in float32 (float64 for
/// a float64 model), cast once.  A scale of 1 changes no bit.
void scale_bands(const BandScales& scales, Llama& model);

/// {"model", "variant", "edges", "scales": [layers][row()]}; `model` is the checkpoint's hash.
Json to_json(const BandScales& scales, const std::string& model);

/// A rescaling that does that and knows no search.
std::unique_ptr<Rescaling> rescaling_by(const BandScales& scales);

}  // namespace qroar
