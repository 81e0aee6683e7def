// A model with candidate scales, without quantizing again where the result is the same (docs/method.md 4.2).
#pragma once
#include <functional>

#include "data/dataset.h"
#include "eval/evaluate.h"
#include "quant/plan.h"
#include "rescale/band_scales.h"

namespace qroar {

struct Quantized {
  const Llama& model;
  const TensorMap& found;  ///< by calibration with scales of 1, also used for candidates
};

/// The input of a search.
struct SearchInput {
  const Llama& full;  ///< the unmodified model
  const QuantPlan& plan;
  /// Returns the model that `plan` makes of `full`, with scales of 1.  Not called by a search whose journal is
  /// complete.
  const std::function<Quantized()>& quantized;
  const AnglesOf& angles_of;
  const std::vector<Document>& documents;
  Feed feed;  ///< of dev windows
  /// Throws where what was computed until now must not be kept, since a file of the model has changed meanwhile.
  std::function<void()> check = [] {};
};

/// Returns whether the scales commute with the quantizers of q_proj and k_proj in every layer.  Then scaling their
/// outputs, or the rows of their quantized weights, is equivalent to quantizing scaled weights.
bool commutes_with_scales(const QuantPlan& plan, const LlamaConfig& config);

/// Returns the quantized model of scaled weights: scales the quantized rows where that is equal up to rounding in the
/// weights' dtype, else quantizes again.
Llama scaled_model(const SearchInput& input, const BandScales& scales);

}  // namespace qroar
