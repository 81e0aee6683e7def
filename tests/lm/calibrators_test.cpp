// What calibrators take of their samples.
#include "quant/awq_search.h"
#include "quant/calibrate.h"
#include "support/catch.h"
#include "support/llama.h"

namespace qroar {
namespace {

QuantRules rules_of(const std::string& match, const std::string& keys) {
  return QuantRules(
      Config::parse(fmt::format("quant: [{{match: '{}', weight: {{type: awq, bits: 3, group: 16{}}}}}]", match, keys),
                    "q.yaml")
          .items("quant"));
}

ops::RopeAngles angles_of(int64_t tokens) {
  return {at::ones({tokens, 8}, at::kDouble), at::zeros({tokens, 8}, at::kDouble)};
}

}  // namespace

TEST_CASE("awq: a scale is searched on the first samples, and clipping sees every third of 1024 tokens, scaled") {
  const LlamaConfig config = small_llama_config();
  const Llama model = random_llama(config, at::kDouble, 7);
  const DecoderLayer& layer = model.layers[0];
  const QuantRules rules = rules_of("*.mlp.down_proj", ", search_samples: 1");
  const auto quantizer = rules.calibrated(layer).front();
  const ops::RopeAngles angles = angles_of(512);
  const auto calibrator = quantizer->watch({config, layer, angles, 2, 512, rules.sites_of(*quantizer)});
  std::vector<at::Tensor> samples;
  for (int64_t i = 0; i < 2; ++i) {
    samples.push_back(at::randn({512, 96}, at::kDouble) * at::pow(9.0, at::rand({96}, at::kDouble)));
    calibrator->begin_sample(i);
    calibrator->on_input(layer.down_proj.site, samples.back());
  }
  const TensorMap found = calibrator->found();

  const at::Tensor& weight = layer.down_proj.weight_OI;
  const at::Tensor all = at::cat(samples);
  double best = std::numeric_limits<double>::infinity();
  at::Tensor scale;
  for (int step = 0; step < 20; ++step) {
    const at::Tensor trial = awq_scale(all.abs().mean(0), {}, step / 20.0);  // of all tokens
    const at::Tensor error = quantizer->fake_quantize(weight * trial) / trial - weight;
    const double loss = at::matmul(samples[0], error.t()).square().sum().item<double>();
    if (loss < best) {
      best = loss;
      scale = trial;
    }
  }
  CHECK(at::allclose(found.at("scale.up_proj"), scale, 1e-9));
  // 1024 / 512 is 2, which would take the same places of every sample; the next stride that does not divide is 3.
  const at::Tensor taken = all.slice(0, 0, 1024, 3) / scale;
  CHECK(at::allclose(found.at("clip.mlp.down_proj"), awq_clip_parts(weight * scale, taken, quantizer->rtn())));
}

TEST_CASE("awq: every linear layer is clipped but queries and keys, whose products would be off twice") {
  const LlamaConfig config = small_llama_config();
  const Llama model = random_llama(config, at::kDouble, 8);
  const DecoderLayer& layer = model.layers[0];
  const QuantRules rules = rules_of("*", "");
  const auto quantizer = rules.calibrated(layer).front();
  const ops::RopeAngles angles = angles_of(8);
  const auto calibrator = quantizer->watch({config, layer, angles, 1, 8, rules.sites_of(*quantizer)});
  calibrator->begin_sample(0);
  for (const auto& stage : kStages) {
    const Linear& linear = layer.*stage.front();
    calibrator->on_input(linear.site, at::randn({8, linear.weight_OI.size(1)}, at::kDouble));
  }
  std::vector<std::string> clipped;
  for (const auto& [name, tensor] : calibrator->found()) {
    if (name.starts_with("clip.")) clipped.push_back(name.substr(5));
  }
  CHECK(clipped == std::vector<std::string>{"mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.o_proj",
                                            "self_attn.v_proj"});
}

TEST_CASE("smoothquant: a scale is by the largest of all samples and of all weights that read it, from 1e-5 on") {
  const LlamaConfig config = small_llama_config();
  Llama model = random_llama(config, at::kDouble, 9);
  DecoderLayer& layer = model.layers[0];
  at::Tensor largest;
  for (const Linear* linear : {&layer.q_proj, &layer.k_proj, &layer.v_proj}) {
    linear->weight_OI.select(1, 3).fill_(2e-4);
    linear->weight_OI.select(1, 5).zero_();
    const at::Tensor own = linear->weight_OI.abs().amax(0);
    largest = largest.defined() ? at::maximum(largest, own) : own;
  }
  largest[5] = 1e-5;
  const QuantRules rules(
      Config::parse("quant: [{match: '*', weight: {type: smoothquant, alpha: 0.25}}]", "q.yaml").items("quant"));
  const auto quantizer = rules.calibrated(layer).front();
  const ops::RopeAngles angles = angles_of(8);
  const auto calibrator = quantizer->watch({config, layer, angles, 2, 8, rules.sites_of(*quantizer)});
  const at::Tensor x = at::randn({16, 64}, at::kDouble);
  for (int64_t i = 0; i < 2; ++i) {
    calibrator->begin_sample(i);
    calibrator->on_input(layer.q_proj.site, x.slice(0, 8 * i, 8 * i + 8));
  }
  CHECK(at::allclose(calibrator->found().at("scale.input_layernorm"), x.abs().amax(0).pow(0.25) / largest.pow(0.75),
                     1e-12));
}

}  // namespace qroar
