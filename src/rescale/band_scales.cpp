// Dimensions: L layers, K key/value heads (1: all alike), P pairs, B bands.
#include "rescale/band_scales.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {
namespace {

/// Expands the numbers [layers, heads, bands], which begin at `first` in a head's row, to the pairs of their bands.
at::Tensor over_pairs(const BandScales& scales, int64_t first) {
  const BandLayout& layout = scales.layout;
  const at::Tensor g_LKB = at::tensor(scales.g, at::kDouble).view({layout.layers, layout.heads, layout.head_row()});
  std::vector<int64_t> pairs;
  for (std::size_t band = 0; band + 1 < layout.edges.size(); ++band) {
    pairs.push_back(layout.edges[band + 1] - layout.edges[band]);
  }
  return at::repeat_interleave(g_LKB.narrow(2, first, layout.bands()), at::tensor(pairs, at::kLong), 2);
}

/// Multiplies rows i and i + P of each head of x, [rows] or [rows, columns], by its factor i; neighbouring heads share
/// a row of factors where there are fewer of those.
at::Tensor scale_rows(const at::Tensor& x, int64_t head_dim, const at::Tensor& factor_KP) {
  const at::Tensor wide = x.to(ops::wide_dtype(x)), factor = factor_KP.to(wide.options());
  const int64_t K = factor.size(0), unrotated = head_dim - 2 * factor.size(1);
  const at::Tensor factor_Kd = at::cat({factor, factor, at::ones({K, unrotated}, factor.options())}, 1);
  const at::Tensor heads = wide.view({K, -1, head_dim, x.numel() / x.size(0)});
  return (heads * factor_Kd.view({K, 1, head_dim, 1})).view_as(x).to(x.scalar_type());
}

/// Scales the heads of a layer's outputs, or those after the norm where there is one.
void scale_heads(Linear& linear, at::Tensor& norm_d, int64_t head_dim, const at::Tensor& factor_KP) {
  if (factor_KP.eq(1).all().item<bool>()) return;
  if (norm_d.defined()) {
    norm_d = scale_rows(norm_d, head_dim, factor_KP);
    return;
  }
  linear.change([=](const at::Tensor& weight_OI) { return scale_rows(weight_OI, head_dim, factor_KP); });
  if (linear.bias_O.defined()) linear.bias_O = scale_rows(linear.bias_O, head_dim, factor_KP);
}

/// Puts the factors of the checkpoint's heads in the order of the layer's.
at::Tensor of_heads(const DecoderLayer& layer, const at::Tensor& factor_KP) {
  if (layer.key_heads.empty() || factor_KP.size(0) == 1) return factor_KP;
  return factor_KP.index_select(0, at::tensor(layer.key_heads, at::kLong));
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

at::Tensor BandScales::query_LKP() const { return over_pairs(*this, 0); }

at::Tensor BandScales::key_LKP() const {
  if (layout.variant == BandVariant::independent) return over_pairs(*this, layout.bands());
  const at::Tensor g_LKP = over_pairs(*this, 0);
  return layout.variant == BandVariant::symmetric ? g_LKP.reciprocal() : g_LKP;
}

void scale_bands(const BandScales& scales, Llama& model) {
  const at::Tensor query_LKP = scales.query_LKP(), key_LKP = scales.key_LKP();
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const auto own = scales.layout.layers == 1 ? 0 : static_cast<int64_t>(i);
    DecoderLayer& layer = model.layers[i];
    if (!layer.heads.rope) continue;
    scale_heads(layer.q_proj, layer.q_norm_d, model.config.head_dim, of_heads(layer, query_LKP[own]));
    scale_heads(layer.k_proj, layer.k_norm_d, model.config.head_dim, of_heads(layer, key_LKP[own]));
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
  Json json{{"model", model}, {"variant", variant->first}, {"edges", layout.edges}, {"scales", rows}};
  if (layout.heads > 1) json["heads"] = layout.heads;
  return json;
}

std::unique_ptr<Rescaling> rescaling_by(const BandScales& scales) { return std::make_unique<FixedScales>(scales); }

}  // namespace qroar
