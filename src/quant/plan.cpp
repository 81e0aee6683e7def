#include "quant/plan.h"

namespace qroar {

QuantPlan::QuantPlan(const Config& root, const LlamaConfig& llama)
    : rotation(root.at("rotation", "{type: none}"), llama), rules(root.items("quant")) {
  rules.check_against(linear_sites(llama));
}

Llama apply(const QuantPlan& plan, const Llama& full) {
  Llama model = full;
  rotate(plan.rotation, model);
  model.each_linear([&](Linear& linear) {
    if (const auto weight = plan.rules.weight_quantizer(linear.site)) {
      linear.weight_OI = weight->fake_quantize(linear.weight_OI.contiguous());
    }
    if (const auto input = plan.rules.input_quantizer(linear.site)) {
      const Transform quantize{[input](const at::Tensor& x_TI) { return input->fake_quantize(x_TI.contiguous()); },
                               !input->rows_are_independent()};
      linear.input = linear.input.then(quantize);
    }
  });
  return model;
}

}  // namespace qroar
