// The weight errors of every way to round under rounding draws, for the test and the table of docs/method.md 5.6.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/angles.h"
#include "quant/calibrate.h"
#include "quant/fold.h"
#include "quant/plan.h"
#include "support/rope.h"

namespace qroar {

struct DrawnFormat {
  const char* weight;
  double correlation = 0.03;  ///< of errors of two draws on tiny-books, at most
  const char* match = "layers.*";
};

/// At least one of every registered quantizer that rounds; a test says when one is missing.
inline constexpr DrawnFormat kDrawnFormats[] = {
    {"{type: rtn, bits: 4, group: 64}"},
    {"{type: rtn, bits: 3, group: 64}"},
    {"{type: rtn, bits: 4, group: 0}"},
    {"{type: rtn, bits: 3, group: 0}", 0.08},
    {"{type: rtn, bits: 4, group: 0, symmetric: true}"},
    {"{type: nf4, block: 64}"},
    {"{type: af4, block: 64}"},
    {"{type: fp4, block: 64}"},
    // Scales that are powers of two cut off the largest weight of many a block, in every draw alike.
    {"{type: mxfp4}", 0.15},
    {"{type: mxfp6}"},
    {"{type: mxfp8}", 0.1},
    {"{type: nvfp4}"},
    {"{type: fp8}"},
    {"{type: hqq, bits: 4, group: 64}"},
    {"{type: by_band, edges: [0, 16, 32], of: [{type: rtn, bits: 3, group: 0}, {type: rtn, bits: 4, group: 0}]}", 0.03,
     "layers.*.self_attn.{q,k}_proj"},
    {"{type: gptq, bits: 4, group: 64}"},
    {"{type: awq, bits: 4, group: 64, search_samples: 16}"},
    {"{type: smoothquant, bits: 8, group: 0}"}};

inline std::string type_of(const DrawnFormat& format) {
  return Config::parse(format.weight, "format.yaml").json()["type"].get<std::string>();
}

/// The plan of the blocks `quant` and the like in YAML, with a rounding draw.
inline QuantPlan plan_with_draw(const std::string& blocks, int64_t draw, const LlamaConfig& llama) {
  return {Config::parse(fmt::format("{}\nrounding: {{draw: {}}}", blocks, draw), "plan.yaml"), llama};
}

/// What calibrated formats see: some of a file's text through the model as it was trained.
struct CalibrationInput {
  CalibrationText text;
  ops::RopeAngles angles;

  CalibrationInput(const std::filesystem::path& texts, const std::string& how_many, const std::filesystem::path& folder,
                   const Llama& model) {
    const std::string yaml = fmt::format("{{data: {{path: {}}}, {}}}", texts.string(), how_many);
    const CalibrationSpec spec(Config::parse(yaml, "calibration.yaml"));
    text = draw_samples(choose_documents(load_corpus(spec.data.path, folder, model.config), spec.data).documents, spec);
    const RopeTable table = make_scheme("{type: none}")->table(model.config.rope_geometry(spec.length), spec.length);
    angles = rope_angles(table, spec.length, model.embed_tokens_VD.scalar_type(), at::kCPU, false);
  }
};

/// What rounding does to every weight of the decoder layers, in float64 and in the draw's own coordinates.  Scales that
/// calibration folds differ between draws, and are taken off again: the error of Q(W s) / s.
inline std::vector<at::Tensor> weight_errors(const QuantPlan& plan, const Llama& full, const CalibrationInput& input) {
  const Llama prepared = prepare(plan, full);
  const TensorMap found = calibrate(plan.rules, prepared, input.text, input.angles);
  const Llama quantized = apply(plan, prepared, found);
  Llama exact = folded(prepared, found);
  std::vector<at::Tensor> errors;
  for (std::size_t i = 0; i < full.layers.size(); ++i) {
    DecoderLayer& layer = exact.layers[i];
    for (const auto linear : kLayerLinears) {
      (layer.*linear).weight_OI = (quantized.layers[i].*linear).weight_OI.to(at::kDouble) - (layer.*linear).weight_OI;
    }
    for (const ScaleGroup& group : scale_groups()) {
      const auto scale = found.find(layer.site + ".scale." + group.name);
      if (scale != found.end()) fold_scale(layer, group, scale->second.reciprocal());
    }
    for (const auto linear : kLayerLinears) errors.push_back((layer.*linear).weight_OI);
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

inline double correlation(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return inner_product(a, b) / std::sqrt(inner_product(a, a) * inner_product(b, b));
}

struct DrawnErrors {
  double squared;      ///< the sum of squares relative to draw 0's
  double correlation;  ///< with draw 0's
};

/// Returns what draws 1..draws of a format do.
inline std::vector<DrawnErrors> drawn_errors(const DrawnFormat& format, int64_t draws, const Llama& full,
                                             const CalibrationInput& input) {
  const std::string blocks = fmt::format("quant: [{{match: \"{}\", weight: {}}}]", format.match, format.weight);
  const auto errors_of = [&](int64_t draw) {
    return weight_errors(plan_with_draw(blocks, draw, full.config), full, input);
  };
  const std::vector<at::Tensor> first = errors_of(0);
  std::vector<DrawnErrors> found;
  for (int64_t draw = 1; draw <= draws; ++draw) {
    const std::vector<at::Tensor> drawn = errors_of(draw);
    found.push_back(
        {inner_product(drawn, drawn) / inner_product(first, first), correlation(in_draw(first, draw, full), drawn)});
  }
  return found;
}

}  // namespace qroar
