// GPTQ and SmoothQuant by hand-computed numbers.
#include "quant/calibrated.h"
#include "quant/fold.h"
#include "quant/rules.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/llama.h"

namespace qroar {
namespace {

/// What a quantizer makes of q_proj's weight [rows, 3] for inputs x [tokens, 3].
at::Tensor quantized_q_proj(const std::string& weight_yaml, const at::Tensor& weight, const at::Tensor& x) {
  const LlamaConfig config = small_llama_config();
  DecoderLayer layer = random_llama(config, at::kFloat, 1).layers[0];
  layer.q_proj.weight_OI = weight;
  const QuantRules rules(
      Config::parse("quant: [{match: 'layers.0.self_attn.q_proj', weight: " + weight_yaml + "}]", "q.yaml")
          .items("quant"));
  const auto quantizer = rules.calibrated(layer).front();
  const ops::RopeAngles angles;
  const auto calibrator = quantizer->watch({config, layer, angles, 1, x.size(0), rules.sites_of(*quantizer)});
  calibrator->begin_sample(0);
  calibrator->on_input(layer.q_proj.site, x);
  DecoderLayer changed = layer;
  calibrator->end_stage(0, changed);
  quantizer->apply(layer, rules.sites_of(*quantizer), calibrator->found());
  return layer.q_proj.weight_OI;
}

bool near(const at::Tensor& x, const std::vector<float>& expected) {
  return at::allclose(x.flatten(), at::tensor(expected), 1e-5, 1e-6);
}

// Sums of x x': [[1, 1, 0], [1, 2, 0], [0, 0, 1]].
const std::vector<float> kInputs{1, 1, 0, 0, 1, 0, 0, 0, 1};
at::Tensor inputs() { return at::tensor(kInputs).view({3, 3}); }

}  // namespace

TEST_CASE("gptq: the error of a column moves the columns behind it by the Hessian") {
  // Range 0..1.2 in 2 bits: step 0.4.  0.5 -> 0.4; its error 0.1 moves 0.97 by 0.1 * 1/2 to 1.02, which rounds to 1.2,
  // where 0.97 itself would go to 0.8.
  const at::Tensor weight = at::tensor({0.5f, 0.97f, 1.2f}).view({1, 3});
  CHECK(near(quantized_q_proj("{type: gptq, bits: 2, group: 0, percdamp: 0}", weight, inputs()), {0.4f, 1.2f, 1.2f}));
  // The unit of the inputs does not matter, though the factor's diagonal has it.
  for (const double unit : {0.1, 10.0})
    CHECK(near(quantized_q_proj("{type: gptq, bits: 2, group: 0, percdamp: 0}", weight, inputs() * unit),
               {0.4f, 1.2f, 1.2f}));
  // Without correlations it is RTN.
  CHECK(near(quantized_q_proj("{type: gptq, bits: 2, group: 0, percdamp: 0}", weight, at::eye(3)), {0.4f, 0.8f, 1.2f}));
}

TEST_CASE("gptq: act_order starts with the column of the largest diagonal") {
  // 0.97 -> 0.8 first; its error 0.17 moves 0.5 by 0.17 * 1/1 to 0.67, which rounds to 0.8.
  const at::Tensor weight = at::tensor({0.5f, 0.97f, 1.2f}).view({1, 3});
  for (const char* groups : {"false", "true"}) {
    const std::string yaml =
        std::string("{type: gptq, bits: 2, group: 0, percdamp: 0, act_order: true, static_groups: ") + groups + "}";
    CHECK(near(quantized_q_proj(yaml, weight, inputs()), {0.8f, 0.8f, 1.2f}));
  }
}

TEST_CASE("gptq: with static groups a column has the grid of its own group, in whatever order columns are rounded") {
  at::manual_seed(6);
  const at::Tensor weight = at::randn({5, 6}) * at::tensor({1.f, 1.f, 1.f, 9.f, 9.f, 9.f});
  const at::Tensor x = at::randn({20, 6}) * at::tensor({1.f, 5.f, 2.f, 3.f, 1.f, 4.f});
  const at::Tensor rounded =
      quantized_q_proj("{type: gptq, bits: 3, group: 3, act_order: true, static_groups: true}", weight, x);
  ops::RtnGrid grid;
  grid.bits = 3;
  grid.zero = ops::RtnZero::included;
  for (const int64_t first : {0, 3}) {
    const at::Tensor own = rounded.narrow(1, first, 3);
    CHECK(at::allclose(own, ops::rtn_round(own, ops::rtn_scale(weight.narrow(1, first, 3), grid)), 1e-5, 1e-6));
  }
  CHECK_FALSE(at::allclose(rounded, weight));
}

TEST_CASE("gptq: codes are those of the float32 grid, and are stored with a scale of the dtype that is asked for") {
  // Range 0..1.1 in 2 bits: step 1.1 / 3, which float16 has not.
  const at::Tensor weight = at::tensor({0.4f, 0.8f, 1.1f}).view({1, 3}), x = at::eye(3);
  const float step = 1.1f / 3, stored = at::tensor(step).to(at::kHalf).to(at::kFloat).item<float>();
  REQUIRE(step != stored);
  const std::string keys = "{type: gptq, bits: 2, group: 0, percdamp: 0";
  const auto exactly = [](const at::Tensor& found, float scale) {
    return at::equal(found.flatten(), at::tensor({1.f, 2.f, 3.f}) * scale);
  };
  CHECK(exactly(quantized_q_proj(keys + "}", weight, x), step));
  CHECK(exactly(quantized_q_proj(keys + ", scale_dtype: float16}", weight, x), stored));
}

TEST_CASE("gptq: an input that is always zero makes its column zero") {
  const at::Tensor weight = at::tensor({0.4f, 5.f, 1.2f}).view({1, 3});
  const at::Tensor x = at::tensor({1.f, 0.f, 0.f, 0.f, 0.f, 1.f}).view({2, 3});
  CHECK(near(quantized_q_proj("{type: gptq, bits: 2, group: 0}", weight, x), {0.4f, 0.f, 1.2f}));
}

TEST_CASE("gptq: rows keep to themselves, so that row scaling commutes at fixed inputs") {
  at::manual_seed(8);
  const at::Tensor weight = at::randn({8, 3}), x = at::randn({20, 3});
  const at::Tensor powers = at::pow(2.0, at::randint(-3, 4, {8, 1})).to(at::kFloat);
  const std::string yaml = "{type: gptq, bits: 3, group: 0}";
  CHECK(at::equal(quantized_q_proj(yaml, weight * powers, x), quantized_q_proj(yaml, weight, x) * powers));
}

TEST_CASE("gptq: a Hessian that damping does not make positive definite names the layer") {
  const at::Tensor weight = at::tensor({0.5f, 0.97f, 1.2f}).view({1, 3});
  const at::Tensor x = at::tensor({1.f, 1.f, 0.f, 1.f, 1.f, 0.f, 0.f, 0.f, 1.f}).view({3, 3});
  const std::string text =
      error_text([&] { quantized_q_proj("{type: gptq, bits: 2, group: 0, percdamp: 0}", weight, x); });
  CHECK(contains(text, "Hessian of layers.0.self_attn.q_proj is not positive definite"));
  CHECK(contains(text, "percdamp"));
}

TEST_CASE("smoothquant: powers of the largest activation and the largest weight, moved into the norm") {
  const LlamaConfig config = small_llama_config();
  DecoderLayer layer = random_llama(config, at::kDouble, 1).layers[0];
  const at::Tensor weights = at::zeros({64}, at::kDouble) + 1;
  for (const auto member : {&DecoderLayer::q_proj, &DecoderLayer::k_proj, &DecoderLayer::v_proj}) {
    (layer.*member).weight_OI = at::zeros_like((layer.*member).weight_OI);
  }
  layer.k_proj.weight_OI[1].fill_(-4);
  layer.v_proj.weight_OI[2][5] = 9;  // column 5: largest weight 9, the others' 4
  at::Tensor x = at::ones({2, 64}, at::kDouble);
  x[1][7] = -16;
  const auto found_with = [&](const std::string& alpha) {
    const QuantRules rules(
        Config::parse("quant: [{match: 'layers.*.self_attn.*', weight: {type: smoothquant, alpha: " + alpha + "}}]",
                      "q.yaml")
            .items("quant"));
    const auto quantizer = rules.calibrated(layer).front();
    const ops::RopeAngles angles;
    const auto calibrator = quantizer->watch({config, layer, angles, 1, 2, rules.sites_of(*quantizer)});
    calibrator->begin_sample(0);
    calibrator->on_input(layer.q_proj.site, x);
    return calibrator->found();
  };
  const at::Tensor other = found_with("0.25").at("scale.input_layernorm");
  CHECK(other[0].item<double>() == Approx(std::pow(4, -0.75)));
  CHECK(other[5].item<double>() == Approx(std::pow(9, -0.75)));
  CHECK(other[7].item<double>() == Approx(std::pow(16, 0.25) * std::pow(4, -0.75)));
  const TensorMap found = found_with("0.5");
  REQUIRE(found.size() == 1);                              // gate and up have no rule
  at::Tensor expected = at::full({64}, 0.5, at::kDouble);  // sqrt(1 / 4)
  expected[5] = 1 / 3.0;                                   // sqrt(1 / 9)
  expected[7] = 2;                                         // sqrt(16 / 4)
  CHECK(at::allclose(found.at("scale.input_layernorm"), expected, 1e-12));
  const at::Tensor norm = layer.input_norm_D;
  fold_found(layer, found);
  CHECK(at::allclose(layer.input_norm_D, norm / expected));
  CHECK(layer.v_proj.weight_OI[2][5].item<double>() == Approx(3));
}

}  // namespace qroar
