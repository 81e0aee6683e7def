// Scales of queries and keys per band of RoPE pairs, as data: what `rescale: {type: bands}` applies, what a search
// varies and what a scales file contains.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"
#include "model/llama.h"
#include "rescale/rescaling.h"

namespace qroar {

/// What the number g of a band scales.
enum class BandVariant {
  shared,       ///< queries and keys times g: multiplies the band's part of an attention logit by g^2
  independent,  ///< one number for queries and one for keys
  symmetric,    ///< queries times g, keys times 1/g: the logits of the full-precision model do not change
};
const std::vector<std::pair<std::string, BandVariant>>& band_variants();

struct BandLayout {
  BandVariant variant = BandVariant::shared;
  std::vector<int64_t> edges;  ///< see rope/bands.h
  int64_t layers = 1;          ///< 1: every layer has the same scales; else the number of the model's layers
  int64_t heads = 1;           ///< 1: all heads of a layer have the same scales; else num_key_value_heads

  int64_t bands() const { return static_cast<int64_t>(edges.size()) - 1; }
  /// Returns the number of values of a head: one per band, or those of the queries' bands and then the keys' bands.
  int64_t head_row() const { return variant == BandVariant::independent ? 2 * bands() : bands(); }
  /// Returns the number of values of a layer.
  int64_t row() const { return heads * head_row(); }
  int64_t size() const { return layers * row(); }
};

struct BandScales {
  BandLayout layout;
  std::vector<double> g;  ///< [layers, heads, head_row()], positive

  /// Returns factors [layers, heads, d/2] in float64 that multiply the channels of a pair; both channels of a pair
  /// share one factor, and under grouped-query attention a key's factor applies to all its queries.
  at::Tensor query_LKP() const;
  at::Tensor key_LKP() const;
};

/// Multiplies the rows of q_proj and k_proj, and their biases, of a view of a model, or the weights of the norms of
/// queries and keys where it has these, in float32 (float64 for a float64 model), with one cast at the end.  A scale of
/// 1 changes no bit.  Layers without RoPE have no bands.  Heads are the checkpoint's, wherever a rounding draw has put
/// them.
void scale_bands(const BandScales& scales, Llama& model);

/// Returns {"model", "variant", "edges", "scales": [layers][row()]}, and "heads" where each has its own; `model` is the
/// checkpoint's hash.
Json to_json(const BandScales& scales, const std::string& model);

/// Returns a rescaling that applies these scales without a search.
std::unique_ptr<Rescaling> rescaling_by(const BandScales& scales);

}  // namespace qroar
