#include "search/scoring.h"

namespace qroar {

bool commutes_with_scales(const QuantPlan& plan, const LlamaConfig& config) {
  return std::ranges::all_of(linear_sites(config), [&](const LinearSite& site) {
    if (!site.name.ends_with(".q_proj") && !site.name.ends_with(".k_proj")) return true;
    const auto quantizer = plan.rules.weight_quantizer(site.name);
    return quantizer == nullptr || quantizer->commutes_with_row_scaling(site) == RowScaling::any;
  });
}

Llama scaled_model(const SearchInput& input, const BandScales& scales) {
  const bool commutes = commutes_with_scales(input.plan, input.full.config);
  const auto [quantized, found] = input.quantized();
  Llama model = commutes ? quantized : input.full;
  scale_bands(scales, model);
  return commutes ? model : apply(input.plan, prepare(input.plan, model), found);
}

}  // namespace qroar
