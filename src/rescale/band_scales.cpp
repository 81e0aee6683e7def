// Dimensions: L layers, P pairs, O rows of a projection.
#include "rescale/band_scales.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {
namespace {

/// Expands the numbers [layers, bands], which begin at row `first`, to the pairs of their bands.
at::Tensor over_pairs(const BandScales& scales, int64_t first) {
  const BandLayout& layout = scales.layout;
  const at::Tensor g_LB = at::tensor(scales.g, at::kDouble).view({layout.layers, layout.row()});
  std::vector<int64_t> pairs;
  for (std::size_t band = 0; band + 1 < layout.edges.size(); ++band) {
    pairs.push_back(layout.edges[band + 1] - layout.edges[band]);
  }
  return at::repeat_interleave(g_LB.narrow(1, first, layout.bands()), at::tensor(pairs, at::kLong), 1);
}

/// Multiplies rows i and i + d/2 of every head of x_O or x_OI by factor i.
at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& factor_P) {
  const int64_t pairs = factor_P.size(0);
  const at::Tensor wide = x.to(ops::wide_dtype(x));
  const at::Tensor factor = factor_P.to(wide.options()).view({1, 1, pairs, 1});
  return (wide.view({-1, 2, pairs, x.numel() / x.size(0)}) * factor).view_as(x).to(x.scalar_type());
}

void scale_linear(Linear& linear, const at::Tensor& factor_P) {
  if (factor_P.eq(1).all().item<bool>()) return;
  linear.weight_OI = scale_rows(linear.weight_OI, factor_P);
  if (linear.bias_O.defined()) linear.bias_O = scale_rows(linear.bias_O, factor_P);
}

class FixedScales : public Rescaling {
 public:
  explicit FixedScales(BandScales scales) : scales_(std::move(scales)) {}
  void bind(const LlamaConfig&) override {}
  void apply(Llama& model) const override { scale_bands(scales_, model); }
  Json weights_key() const override { return to_json(scales_, ""); }

 private:
  BandScales scales_;
};

}  // namespace

const std::vector<std::pair<std::string, BandVariant>>& band_variants() {
  static const std::vector<std::pair<std::string, BandVariant>> variants{{"shared", BandVariant::shared},
                                                                         {"independent", BandVariant::independent},
                                                                         {"symmetric", BandVariant::symmetric}};
  return variants;
}

at::Tensor BandScales::query_LP() const { return over_pairs(*this, 0); }

at::Tensor BandScales::key_LP() const {
  if (layout.variant == BandVariant::independent) return over_pairs(*this, layout.bands());
  const at::Tensor g_LP = over_pairs(*this, 0);
  return layout.variant == BandVariant::symmetric ? g_LP.reciprocal() : g_LP;
}

void scale_bands(const BandScales& scales, Llama& model) {
  const at::Tensor query_LP = scales.query_LP(), key_LP = scales.key_LP();
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const auto own = scales.layout.layers == 1 ? 0 : static_cast<int64_t>(i);
    scale_linear(model.layers[i].q_proj, query_LP[own]);
    scale_linear(model.layers[i].k_proj, key_LP[own]);
  }
}

Json to_json(const BandScales& scales, const std::string& model) {
  const BandLayout& layout = scales.layout;
  check(std::ssize(scales.g) == layout.size(), "a scale for every band");
  Json rows = Json::array();
  for (int64_t layer = 0; layer < layout.layers; ++layer) {
    const auto begin = scales.g.begin() + layer * layout.row();
    rows.push_back(std::vector<double>(begin, begin + layout.row()));
  }
  const auto variant = std::ranges::find(band_variants(), layout.variant, &std::pair<std::string, BandVariant>::second);
  return {{"model", model}, {"variant", variant->first}, {"edges", layout.edges}, {"scales", rows}};
}

std::unique_ptr<Rescaling> rescaling_by(const BandScales& scales) { return std::make_unique<FixedScales>(scales); }

}  // namespace qroar
