#include "search/scoring.h"

namespace qroar {

bool commutes_with_scales(const QuantPlan& plan, const Llama& model) {
  for (const DecoderLayer& layer : model.layers) {
    for (const Linear* linear : {&layer.q_proj, &layer.k_proj}) {
      const auto quantizer = plan.rules.weight_quantizer(linear->site);
      const LinearSite site{linear->site, linear->weight_OI.size(0), linear->weight_OI.size(1)};
      if (quantizer != nullptr && quantizer->commutes_with_row_scaling(site) != RowScaling::any) return false;
    }
  }
  return true;
}

Llama scaled_model(const SearchInput& input, const BandScales& scales) {
  const bool commutes = commutes_with_scales(input.plan, input.full);
  const auto [quantized, found] = input.quantized();
  Llama model = commutes ? quantized : input.full;
  scale_bands(scales, model);
  return commutes ? model : apply(input.plan, prepare(input.plan, model), found);
}

}  // namespace qroar
