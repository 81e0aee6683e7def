// A model with candidate scales, without quantizing again where that is the same (docs/method.md 4.2).
#pragma once
#include "data/dataset.h"
#include "eval/evaluate.h"
#include "quant/plan.h"
#include "rescale/band_scales.h"

namespace qroar {

struct Quantized {
  const Llama& model;
  const TensorMap& found;  ///< by calibration with scales of 1, which candidates keep
};

/// What a search runs on.
struct SearchInput {
  const Llama& full;  ///< nothing done to it
  const QuantPlan& plan;
  /// As `plan` makes it of `full`, with scales of 1.  Not asked for by a search whose journal knows everything.
  const std::function<Quantized()>& quantized;
  const AnglesOf& angles_of;
  const std::vector<Document>& documents;
  Feed feed;  ///< of dev windows
};

/// Do the scales commute with the quantizers of q_proj and k_proj in every layer?  Then scaling their outputs, or the
/// rows of their quantized weights, equals quantizing scaled weights.
bool commutes_with_scales(const QuantPlan& plan, const Llama& model);

/// The quantized model of scaled weights: by scaling quantized rows where that is equal up to rounding in the weights'
/// dtype, else by quantizing again.
Llama scaled_model(const SearchInput& input, const BandScales& scales);

}  // namespace qroar
