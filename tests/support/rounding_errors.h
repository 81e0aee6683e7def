// The weight errors of a way to quantize under rounding draws, for the test and the table of docs/method.md 5.6.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "quant/calibrate.h"
#include "quant/plan.h"

namespace qroar {

/// The plan of the blocks `quant` and the like in YAML, with a rounding draw.
inline QuantPlan plan_with_draw(const std::string& blocks, int64_t draw, const LlamaConfig& llama) {
  return {Config::parse(fmt::format("{}\nrounding: {{draw: {}}}", blocks, draw), "plan.yaml"), llama};
}

/// What rounding does to every weight of the decoder layers, in float64 and in the draw's own coordinates.  `text`:
/// for calibrated quantizers, whose folded scales are taken off.
inline std::vector<at::Tensor> weight_errors(const QuantPlan& plan, const Llama& full, const CalibrationText* text,
                                             const ops::RopeAngles& angles) {
  const Llama prepared = prepare(plan, full);
  const TensorMap found = text == nullptr ? TensorMap() : calibrate(plan.rules, prepared, *text, angles);
  const Llama quantized = apply(plan, prepared, found), exact = folded(prepared, found);
  std::vector<at::Tensor> errors;
  for (std::size_t i = 0; i < full.layers.size(); ++i) {
    for (const auto linear : kLayerLinears) {
      errors.push_back((quantized.layers[i].*linear).weight_OI.to(at::kDouble) -
                       (exact.layers[i].*linear).weight_OI.to(at::kDouble));
    }
  }
  return errors;
}

/// Moves errors of draw 0 into a draw's coordinates: redraw() is linear in the weights.
inline std::vector<at::Tensor> in_draw(const std::vector<at::Tensor>& errors, int64_t draw, Llama full) {
  std::size_t next = 0;
  for (DecoderLayer& layer : full.layers) {
    for (const auto linear : kLayerLinears) (layer.*linear).weight_OI = errors[next++];
  }
  redraw(Rounding(Config::parse(fmt::format("{{draw: {}}}", draw), "draw.yaml")), full);
  std::vector<at::Tensor> moved;
  for (const DecoderLayer& layer : full.layers) {
    for (const auto linear : kLayerLinears) moved.push_back((layer.*linear).weight_OI);
  }
  return moved;
}

inline double inner_product(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] * b[i]).sum().item<double>();
  return sum;
}

inline double mean_square(const std::vector<at::Tensor>& errors) {
  double count = 0;
  for (const at::Tensor& error : errors) count += static_cast<double>(error.numel());
  return inner_product(errors, errors) / count;
}

inline double correlation(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return inner_product(a, b) / std::sqrt(inner_product(a, a) * inner_product(b, b));
}

}  // namespace qroar
