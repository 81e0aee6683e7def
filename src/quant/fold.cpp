#include "quant/fold.h"

#include "quant/calibrated.h"

namespace qroar {
namespace {

at::Tensor divided_by(const at::Tensor& x, const at::Tensor& scale) {
  return (x.to(ops::wide_dtype(x)) / scale).to(x.scalar_type());
}

}  // namespace

const std::vector<ScaleGroup>& scale_groups() {
  using L = DecoderLayer;
  static const std::vector<ScaleGroup> groups{
      {"input_layernorm", &L::input_norm_D, nullptr, {&L::q_proj, &L::k_proj, &L::v_proj}},
      {"v_proj", nullptr, &L::v_proj, {&L::o_proj}},
      {"post_attention_layernorm", &L::post_attention_norm_D, nullptr, {&L::gate_proj, &L::up_proj}},
      {"up_proj", nullptr, &L::up_proj, {&L::down_proj}}};
  return groups;
}

bool can_fold(const DecoderLayer& layer, const ScaleGroup& group) {
  for (const auto linear : group.linears) {
    if ((layer.*linear).transforms_input()) return false;
  }
  return group.previous == nullptr ||
         (layer.*group.previous).weight_OI.size(0) == (layer.*group.linears.front()).weight_OI.size(1);
}

void fold_scale(DecoderLayer& layer, const ScaleGroup& group, const at::Tensor& scale_I) {
  if (group.norm != nullptr) {
    layer.*group.norm = divided_by(layer.*group.norm, scale_I);
  } else {
    Linear& previous = layer.*group.previous;
    previous.change([=](const at::Tensor& weight_OI) { return divided_by(weight_OI, scale_I.unsqueeze(1)); });
    if (previous.bias_O.defined()) previous.bias_O = divided_by(previous.bias_O, scale_I);
  }
  for (const auto linear : group.linears) {
    (layer.*linear).change([=](const at::Tensor& weight_OI) { return scale_columns(weight_OI, scale_I); });
  }
}

void fold_found(DecoderLayer& layer, const TensorMap& found) {
  for (const ScaleGroup& group : scale_groups()) {
    const auto scale = found.find("scale." + group.name);
    if (scale != found.end()) fold_scale(layer, group, scale->second);
  }
}

at::Tensor scale_columns(const at::Tensor& weight_OI, const at::Tensor& scale_I) {
  return (weight_OI.to(ops::wide_dtype(weight_OI)) * scale_I).to(weight_OI.scalar_type());
}

}  // namespace qroar
