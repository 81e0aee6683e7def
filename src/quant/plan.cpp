#include "quant/plan.h"

#include "quant/fold.h"

namespace qroar {
namespace {

/// Returns the entries whose names begin with the layer's name, without that prefix.
TensorMap of_layer(const TensorMap& found, const DecoderLayer& layer) {
  TensorMap own;
  const std::string prefix = layer.site + ".";
  for (const auto& [name, tensor] : found) {
    if (name.starts_with(prefix)) own[name.substr(prefix.size())] = tensor;
  }
  return own;
}

}  // namespace

QuantPlan::QuantPlan(const Config& root, const LlamaConfig& llama)
    : rotation(root.at("rotation", "{type: none}"), llama),
      rules(root.items("quant")),
      kv(root.at("kv", "{type: none}"), llama, rotation.qk) {
  if (root.has("rounding")) rounding = Rounding(root.at("rounding"));
  rules.check_against(linear_sites(llama));
  const Json& stored = value_at(llama.imported, "/bits_per_weight");
  bits_per_weight = rules.bits_per_weight(linear_sites(llama), stored.is_null() ? 16 : stored.get<double>());
}

Llama prepare(const QuantPlan& plan, const Llama& full) {
  Llama model = full;
  redraw(plan.rounding, model);
  rotate(plan.rotation, model);
  return model;
}

void quantize_layer(const QuantRules& rules, DecoderLayer& layer, const TensorMap& found, bool quantized_inputs) {
  fold_found(layer, found);
  const auto calibrated = rules.calibrated(layer);
  for (const auto& quantizer : calibrated) {
    if (quantized_inputs || !quantizer->sees_quantized_inputs())
      quantizer->apply(layer, rules.sites_of(*quantizer), found);
  }
  for (const auto member : kLayerLinears) {
    Linear& linear = layer.*member;
    const auto weight = rules.weight_quantizer(linear.site);
    if (weight != nullptr && std::ranges::find(calibrated, weight) == calibrated.end()) {
      linear.change([weight](const at::Tensor& weight_OI) { return weight->fake_quantize(weight_OI.contiguous()); });
    }
  }
}

Llama apply(const QuantPlan& plan, Llama prepared, const TensorMap& found) {
  Llama model = std::move(prepared);
  for (DecoderLayer& layer : model.layers) {
    quantize_layer(plan.rules, layer, of_layer(found, layer));
    plan.kv.attach(layer.heads);
  }
  if (const auto weight = plan.rules.weight_quantizer(model.lm_head.site)) {
    model.lm_head.weight_OI = weight->fake_quantize(model.lm_head.weight_OI.contiguous());
  }
  model.each_linear([&](Linear& linear) {
    const auto input = plan.rules.input_quantizer(linear.site);
    if (input == nullptr) return;
    if (plan.rules.is_static(linear.site)) {
      const at::Tensor& range = found.at(linear.site + kRangeSuffix);
      linear.input = linear.input.then({input->with_range(range[0], range[1])});
    } else {
      linear.input =
          linear.input.then({[input](const at::Tensor& x_TI) { return input->fake_quantize(x_TI.contiguous()); }});
    }
  });
  return model;
}

Llama folded(const Llama& prepared, const TensorMap& found) {
  Llama model = prepared;
  for (DecoderLayer& layer : model.layers) fold_found(layer, of_layer(found, layer));
  return model;
}

}  // namespace qroar
