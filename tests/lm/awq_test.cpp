// AWQ's rules by hand-computed numbers, and its search against trying everything.
#include "quant/awq_search.h"
#include "quant/calibrate.h"
#include "quant/fold.h"
#include "support/catch.h"
#include "support/llama.h"

namespace qroar {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<double> values(const at::Tensor& x) {
  const at::Tensor flat = x.to(at::kDouble).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

bool near(const at::Tensor& x, const std::vector<double>& expected) {
  return at::allclose(x.to(at::kDouble).flatten(), at::tensor(expected, at::kDouble), 1e-6, 1e-12);
}

at::Tensor doubles(std::vector<double> x) { return at::tensor(x, at::kDouble); }

Rtn rtn(const std::string& yaml) { return Rtn(Config::parse(yaml, "r.yaml"), {.zero = ops::RtnZero::awq}); }

/// The single quantizer of rules that take the sites of `match`.
std::pair<QuantRules, std::string> rules_of(const std::string& match, const std::string& weight) {
  const std::string yaml = "quant: [{match: '" + match + "', weight: " + weight + "}]";
  return {QuantRules(Config::parse(yaml, "q.yaml").items("quant")), yaml};
}

}  // namespace

TEST_CASE("awq: a trial scale is the mean magnitude to a power, its extremes around 1") {
  CHECK(near(awq_scale(doubles({1, 4, 16}), {}, 0.5), {0.5, 1, 2}));
  CHECK(values(awq_scale(doubles({1, 4, 16}), {}, 0)) == std::vector<double>{1, 1, 1});
}

TEST_CASE("awq: scales have a floor of 1e-4 before they are put around 1") {
  CHECK(near(awq_scale(doubles({0, 1}), {}, 0.5), {1e-2, 1e2}));
}

TEST_CASE("awq: duo scaling divides by the weights' means, and what is not finite becomes 1") {
  // 1 / (1 + 1e-4) and 2 / (0.5 + 1e-4), then over the root of their product.
  const double low = 1 / 1.0001, high = 2 / 0.5001, centre = std::sqrt(low * high);
  CHECK(near(awq_scale(doubles({1, 4}), doubles({1, 0.25}), 0.5), {low / centre, high / centre}));
  // The input to the power 1/4 and the weight to 3/4: 2 / (1/8 + 1e-4).
  const double quarter = 2 / 0.1251, middle = std::sqrt(low * quarter);
  CHECK(near(awq_scale(doubles({1, 16}), doubles({1, 0.0625}), 0.25), {low / middle, quarter / middle}));
  CHECK(near(awq_scale(doubles({kInf, 1}), doubles({1, 1}), 0.5), {1, 0}));
}

TEST_CASE("awq: the weights' means are of magnitudes relative to their group's largest") {
  const at::Tensor weight = doubles({1, -2, 4, 2, 0, 1, 3, 3}).view({2, 4});
  CHECK(at::allclose(awq_weight_means(weight, 2), doubles({0.25, 1, 1, 0.75}), 1e-5));
  CHECK(at::allclose(awq_weight_means(weight, 0), doubles({0.125, (0.5 + 1 / 3.0) / 2, 1, 0.75}), 1e-5));
}

TEST_CASE(
    "awq: the part of the largest weight to clip to is chosen for the inputs' sake, in steps of a twentieth down to "
    "0.55") {
  const Rtn grid = rtn("{bits: 2, group: 4}");
  const at::Tensor weight = at::tensor({0.f, 0.9f, 0.9f, 3.f}).view({1, 4});
  // At 2.7 the step is 0.9, so that the channels with inputs are met exactly; at 3 it is 1.
  CHECK(near(awq_clip_parts(weight, at::tensor({1.f, 1.f, 1.f, 0.f}).view({1, 4}), grid), {0.9}));
  // Only the largest weight has inputs: every smaller limit costs.
  CHECK(near(awq_clip_parts(weight, at::tensor({0.f, 0.f, 0.f, 1.f}).view({1, 4}), grid), {1}));
  // Of equal errors the first, which is no clipping.
  CHECK(near(awq_clip_parts(weight, at::zeros({1, 4}), grid), {1}));
  // 0.5 is met exactly at half the largest weight, which is not tried: 0.55 is the last.
  const at::Tensor far = at::tensor({0.f, 0.5f, 0.5f, 3.f}).view({1, 4});
  CHECK(awq_clip_parts(far, at::tensor({1.f, 1.f, 1.f, 0.f}).view({1, 4}), grid).item<double>() >= 0.55 - 1e-6);
}

TEST_CASE("awq: the error of a part is the mean over tokens of the squared partial product") {
  at::manual_seed(2);
  const at::Tensor weight = at::randn({6, 32}, at::kDouble), x = at::randn({40, 32}, at::kDouble);
  const Rtn grid = rtn("{bits: 3, group: 16}");
  const at::Tensor parts = awq_clip_parts(weight, x, grid);
  for (int64_t row = 0; row < 6; ++row) {
    for (int64_t group = 0; group < 2; ++group) {
      const at::Tensor w = weight.slice(0, row, row + 1).slice(1, 16 * group, 16 * group + 16).contiguous();
      const at::Tensor part = x.slice(1, 16 * group, 16 * group + 16);
      double best = kInf, part_found = 0;
      for (int step = 0; step < 10; ++step) {
        const double trial = w.abs().max().item<double>() * (1 - step / 20.0);
        const at::Tensor error = at::matmul(part, (grid.fake_quantize(w.clamp(-trial, trial)) - w).t());
        const double loss = error.square().mean().item<double>();
        if (loss < best) {
          best = loss;
          part_found = 1 - step / 20.0;
        }
      }
      CHECK(parts[row][group].item<double>() == Approx(part_found));
    }
  }
}

TEST_CASE("awq: the scale of o_proj's inputs is the trial with the least squared error of its output") {
  LlamaConfig config = small_llama_config();
  config.num_key_value_heads = config.num_attention_heads;
  const Llama model = random_llama(config, at::kDouble, 3);
  const DecoderLayer& layer = model.layers[0];
  const auto [rules, yaml] =
      rules_of("layers.*.self_attn.o_proj", "{type: awq, bits: 3, group: 16, apply_clip: false}");
  const auto quantizer = rules.calibrated(layer).front();
  const ops::RopeAngles angles{at::ones({8, 8}, at::kDouble), at::zeros({8, 8}, at::kDouble)};
  const auto calibrator = quantizer->watch({config, layer, angles, 1, 8, rules.sites_of(*quantizer)});
  const at::Tensor x = at::randn({8, 64}, at::kDouble) * at::pow(4.0, at::rand({64}, at::kDouble));
  for (const ScaleGroup& group : scale_groups()) {
    const Linear& linear = layer.*group.linears.front();
    calibrator->begin_sample(0);
    calibrator->on_input(linear.site, linear.weight_OI.size(1) == 64 ? x : at::randn({8, 96}, at::kDouble));
  }
  const TensorMap found = calibrator->found();
  REQUIRE(found.size() == 1);

  double best = kInf;
  at::Tensor best_scale;
  const at::Tensor& weight = layer.o_proj.weight_OI;
  for (int step = 0; step < 20; ++step) {
    const at::Tensor scale = awq_scale(x.abs().mean(0), {}, step / 20.0);
    const at::Tensor rounded = quantizer->fake_quantize(weight * scale) / scale;
    const double loss = (at::matmul(x, (rounded - weight).t())).square().mean().item<double>();
    if (loss < best) {
      best = loss;
      best_scale = scale;
    }
  }
  CHECK(at::allclose(found.at("scale.v_proj"), best_scale, 1e-9));
}

TEST_CASE("awq: the search takes as many samples as asked, and the channels' means take all") {
  LlamaConfig config = small_llama_config();
  config.num_key_value_heads = config.num_attention_heads;
  const Llama model = random_llama(config, at::kDouble, 3);
  const DecoderLayer& layer = model.layers[0];
  const at::Tensor& weight = layer.o_proj.weight_OI;
  const auto sample = [] { return at::randn({8, 64}, at::kDouble) * at::pow(4.0, at::rand({64}, at::kDouble)); };
  std::vector<at::Tensor> samples;
  for (int i = 0; i < 3; ++i) samples.push_back(sample());
  const at::Tensor mean = at::cat(samples).abs().mean(0);
  const ops::RopeAngles angles{at::ones({8, 8}, at::kDouble), at::zeros({8, 8}, at::kDouble)};
  std::vector<at::Tensor> scales;
  for (const int64_t count : {1, 2, 3}) {
    const auto [rules, yaml] =
        rules_of("layers.*.self_attn.o_proj",
                 fmt::format("{{type: awq, bits: 3, group: 16, apply_clip: false, search_samples: {}}}", count));
    const auto quantizer = rules.calibrated(layer).front();
    const auto calibrator = quantizer->watch({config, layer, angles, 3, 8, rules.sites_of(*quantizer)});
    for (std::size_t i = 0; i < samples.size(); ++i) {
      calibrator->begin_sample(static_cast<int64_t>(i));
      calibrator->on_input(layer.o_proj.site, samples[i]);
    }
    double best = kInf;
    at::Tensor expected;
    for (int step = 0; step < 20; ++step) {
      const at::Tensor scale = awq_scale(mean, {}, step / 20.0);
      const at::Tensor error = quantizer->fake_quantize(weight * scale) / scale - weight;
      double loss = 0;
      for (int64_t i = 0; i < count; ++i)
        loss += at::matmul(samples[static_cast<std::size_t>(i)], error.t()).square().sum().item<double>();
      if (loss < best) {
        best = loss;
        expected = scale;
      }
    }
    scales.push_back(calibrator->found().at("scale.v_proj"));
    CHECK(at::allclose(scales.back(), expected, 1e-9));
  }
  CHECK_FALSE((at::equal(scales[0], scales[1]) && at::equal(scales[1], scales[2])));
}

TEST_CASE("awq: scales and their fold leave the layer's function as it is, and grouped-query attention keeps v_proj") {
  LlamaConfig config = small_llama_config();
  for (const int64_t kv_heads : {2, 4}) {
    for (const bool bias : {false, true}) {
      config.num_key_value_heads = kv_heads;
      config.qkv_bias = config.o_bias = config.mlp_bias = bias;
      const Llama model = random_llama(config, at::kDouble, 4);
      DecoderLayer scaled = model.layers[0];
      int folded = 0;
      for (const ScaleGroup& group : scale_groups()) {
        if (!can_fold(scaled, group)) continue;
        fold_scale(scaled, group, at::rand({(scaled.*group.linears.front()).weight_OI.size(1)}, at::kDouble) + 0.5);
        ++folded;
      }
      CHECK(folded == (kv_heads == 4 ? 4 : 3));
      const ops::RopeAngles angles{at::ones({5, 8}, at::kDouble), at::zeros({5, 8}, at::kDouble)};
      at::Tensor before = at::randn({5, 64}, at::kDouble), after = before.clone();
      decoder_layer(model.layers[0], config, before, angles);
      decoder_layer(scaled, config, after, angles);
      CHECK(at::allclose(before, after, 1e-12, 1e-12));
    }
  }
}

}  // namespace qroar
