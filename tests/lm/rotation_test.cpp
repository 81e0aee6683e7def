// A rotated model computes the same logits, with weights that are rotated indeed.
#include "quant/rotation.h"

#include "ops/hadamard.h"
#include "quant/plan.h"
#include "support/errors.h"
#include "support/logits.h"

namespace qroar {
namespace {

Rotation make_rotation(const std::string& yaml, const LlamaConfig& llama = small_llama_config()) {
  const Config config = Config::parse(yaml, "r.yaml");
  Rotation rotation(config, llama);
  check_all_read(config);
  return rotation;
}

/// The plan of a whole configuration.
QuantPlan make_plan(const std::string& yaml) { return {Config::parse(yaml, "p.yaml"), small_llama_config()}; }

Llama rotated(const Llama& full, const std::string& yaml) {
  Llama model = full;
  rotate(make_rotation(yaml, full.config), model);
  return model;
}

/// Fourth moment over squared second: 3 for normally distributed values, large where outliers are.
double kurtosis(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kDouble);
  const auto second = wide.square().mean().item<double>();
  return wide.pow(4).mean().item<double>() / (second * second);
}

}  // namespace

TEST_CASE("float64 logits are unchanged, whatever the heads, biases and head of the model, the scheme and `online`") {
  each_small_model({4, 2}, [](const Llama& full, const char* scheme, const at::Tensor& expected) {
    for (const char* online : {"", "o_proj", "down_proj", "qk", "o_proj, down_proj", "o_proj, qk", "down_proj, qk",
                               "qk, down_proj, o_proj"}) {
      CAPTURE(online);
      const Llama model = rotated(full, fmt::format("{{type: hadamard, online: [{}]}}", online));
      // Logits are of the order of 1 to 10 and float64 keeps 53 bits; two layers lose a few of them.
      CHECK(largest_difference(all_logits(model, scheme), expected) < 1e-10);
    }
  });
}

TEST_CASE("the residual stream is rotated by H diag(signs), and norms become ones") {
  const LlamaConfig config = small_llama_config();
  const Llama full = random_llama(config, at::kDouble, 2);
  const Llama model = rotated(full, "{type: hadamard, seed: 5, online: []}");
  // Lengths and inner products of embeddings stay, the embeddings do not.
  const auto gram = [](const at::Tensor& x) { return at::mm(x, x.t()); };
  CHECK(largest_difference(gram(model.embed_tokens_VD), gram(full.embed_tokens_VD)) < 1e-12);
  CHECK(largest_difference(model.embed_tokens_VD, full.embed_tokens_VD) > 0.5);
  CHECK(at::equal(model.norm_D, at::ones_like(full.norm_D)));
  // A row of the identity as an embedding would become a column of R: entries +-1/8.
  Llama unit = full;
  unit.embed_tokens_VD = at::eye(64, at::kDouble);
  const at::Tensor r_T = rotated(unit, "{type: hadamard, seed: 5, online: []}").embed_tokens_VD;
  CHECK((r_T.abs() == 0.125).all().item<bool>());
  std::mt19937_64 random(5);
  for (int64_t i = 0; i < 64; ++i) {  // each sign is the first bit of a number
    const double sign = random() >> 63 ? -1 : 1;
    CHECK(at::equal(r_T[i] * 8, sign * ops::reference::hadamard_signs(64).select(1, i)));
  }
  CHECK_FALSE(at::equal(r_T * 8, ops::reference::hadamard_signs(64)));
  CHECK(largest_difference(at::mm(full.embed_tokens_VD, r_T), model.embed_tokens_VD) < 1e-12);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const DecoderLayer &was = full.layers[i], &is = model.layers[i];
    CHECK(at::equal(is.input_norm_D, at::ones_like(was.input_norm_D)));
    CHECK(at::equal(is.post_attention_norm_D, at::ones_like(was.post_attention_norm_D)));
    CHECK(largest_difference(gram(is.q_proj.weight_OI), gram(was.q_proj.weight_OI * was.input_norm_D)) < 1e-12);
    CHECK_FALSE(is.o_proj.input.function);
    CHECK_FALSE(is.heads.rotate.function);
  }
}

TEST_CASE("the full model is not written to") {
  Llama full = random_llama(small_llama_config(), at::kFloat, 3);
  full.lm_head.weight_OI = full.embed_tokens_VD;
  const Llama untouched = random_llama(small_llama_config(), at::kFloat, 3);
  const Llama model = prepare(make_plan("rotation: {type: hadamard}"), full);
  CHECK(at::equal(full.embed_tokens_VD, untouched.embed_tokens_VD));
  CHECK(at::equal(full.norm_D, untouched.norm_D));
  for (std::size_t i = 0; i < full.layers.size(); ++i) {
    for (const auto member : kLayerLinears) {
      CHECK(at::equal((full.layers[i].*member).weight_OI, (untouched.layers[i].*member).weight_OI));
      CHECK_FALSE(at::equal((model.layers[i].*member).weight_OI, (untouched.layers[i].*member).weight_OI));
      CHECK((model.layers[i].*member).weight_OI.is_contiguous());
    }
    CHECK(at::equal(full.layers[i].input_norm_D, untouched.layers[i].input_norm_D));
    CHECK_FALSE(full.layers[i].o_proj.input.function);
  }
  // A tied head becomes one of its own.
  CHECK_FALSE(model.lm_head.weight_OI.is_alias_of(model.embed_tokens_VD));
  CHECK(full.lm_head.weight_OI.is_alias_of(full.embed_tokens_VD));
}

TEST_CASE("a seed draws its signs again and another seed draws others") {
  const Llama full = random_llama(small_llama_config(), at::kFloat, 4);
  const auto embeddings = [&](const char* yaml) { return rotated(full, yaml).embed_tokens_VD; };
  CHECK(at::equal(embeddings("{type: hadamard}"), embeddings("{type: hadamard, seed: 0}")));
  CHECK_FALSE(at::equal(embeddings("{type: hadamard, seed: 1}"), embeddings("{type: hadamard, seed: 0}")));
}

TEST_CASE("weights are folded in float64 and cast once") {
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    const Llama narrow = random_llama(small_llama_config(), dtype, 5);
    Llama wide = narrow;
    wide.embed_tokens_VD = narrow.embed_tokens_VD.to(at::kDouble);
    wide.norm_D = narrow.norm_D.to(at::kDouble);
    for (DecoderLayer& layer : wide.layers) {
      layer.input_norm_D = layer.input_norm_D.to(at::kDouble);
      layer.post_attention_norm_D = layer.post_attention_norm_D.to(at::kDouble);
    }
    wide.each_linear([](Linear& linear) { linear.weight_OI = linear.weight_OI.to(at::kDouble); });
    Llama found = rotated(narrow, "{type: hadamard}"), expected = rotated(wide, "{type: hadamard}");
    CHECK(at::equal(found.embed_tokens_VD, expected.embed_tokens_VD.to(dtype)));
    std::vector<at::Tensor> weights;
    expected.each_linear([&](Linear& linear) { weights.push_back(linear.weight_OI.to(dtype)); });
    std::size_t next = 0;
    found.each_linear([&](Linear& linear) {
      CAPTURE(linear.site);
      CHECK(linear.weight_OI.scalar_type() == dtype);
      CHECK(at::equal(linear.weight_OI, weights[next++]));
    });
  }
}

TEST_CASE("outliers of weights and of what goes into layers are spread") {
  Llama full = random_llama(small_llama_config(), at::kDouble, 6);
  DecoderLayer& layer = full.layers[0];
  layer.q_proj.weight_OI.select(1, 7).mul_(30);  // an input channel
  layer.o_proj.weight_OI.select(0, 3).mul_(30);  // an output channel, through the residual stream
  layer.down_proj.weight_OI.select(1, 11).mul_(30);
  const Llama model = rotated(full, "{type: hadamard}");
  for (const auto member : {&DecoderLayer::q_proj, &DecoderLayer::o_proj, &DecoderLayer::down_proj}) {
    CAPTURE((layer.*member).site);
    CHECK(kurtosis((layer.*member).weight_OI) > 20);
    CHECK(kurtosis((model.layers[0].*member).weight_OI) < 6);
  }
  const at::Tensor spike = at::one_hot(at::tensor({5}, at::kLong), 96).to(at::kDouble) * 10;
  CHECK(model.layers[0].down_proj.input(spike).abs().max().item<double>() == Approx(10 / std::sqrt(96.0)));
}

TEST_CASE("inputs are rotated first and quantized then") {
  const Llama full = random_llama(small_llama_config(), at::kFloat, 7);
  const QuantPlan plan = make_plan(
      "rotation: {type: hadamard}\n"
      "quant: [{match: 'layers.*', weight: {type: none}, input: {type: rtn, bits: 4, group: 0, symmetric: true}}]");
  const Llama model = apply(plan, prepare(plan, full), {});
  const at::Tensor x = at::randn({3, 96});
  const at::Tensor turned = ops::Hadamard(96, at::kFloat, at::kCPU)(x);
  const auto quantizer = plan.rules.input_quantizer("layers.1.mlp.down_proj");
  CHECK(at::equal(model.layers[1].down_proj.input(x), quantizer->fake_quantize(turned)));
}

TEST_CASE("one transform after another: both are done in order, and tokens are coupled where either couples them") {
  const Transform nothing, twice{[](const at::Tensor&x) { return x * 2; }},
      shifted{[](const at::Tensor&x) { return x + 1; }, true};
  const at::Tensor x = at::tensor({3.f});
  CHECK(twice.then(shifted)(x).item<float>() == 7);
  CHECK(shifted.then(twice)(x).item<float>() == 8);
  CHECK(nothing.then(twice)(x).item<float>() == 6);
  CHECK(twice.then(shifted).couples_tokens);
  CHECK(shifted.then(twice).couples_tokens);
  CHECK_FALSE(nothing.then(twice).couples_tokens);
}

TEST_CASE("a wrong rotation block is an error with its place") {
  CHECK(contains(error_text([] { make_rotation("{type: hadamrd}"); }), "did you mean 'hadamard'"));
  CHECK(contains(error_text([] { make_rotation("{type: none, seed: 1}"); }), "seed"));
  CHECK(contains(error_text([] { make_rotation("{type: hadamard, seed: -1}"); }), "r.yaml:1:24: seed"));
  CHECK(error_text([] { make_rotation("{type: hadamard, online: [o_proj, v_proj]}"); }) ==
        "r.yaml:1:35: online[1]: unknown 'v_proj'; known: o_proj, down_proj, qk");
  CHECK(contains(error_text([] { make_rotation("{type: hadamard, online: [qk, qk]}"); }), "r.yaml:1:31"));
}

TEST_CASE("sizes without a Hadamard matrix are errors that name them; what is not rotated may have any size") {
  LlamaConfig config = small_llama_config();
  config.intermediate_size = 100;
  CHECK(contains(error_text([&] { make_rotation("{type: hadamard, online: [down_proj]}", config); }),
                 "r.yaml:1:27: online[0]: intermediate_size is 100: no Hadamard matrix of order 100 is known here; the "
                 "nearest orders are 96 and 104; leave it out of `online`"));
  CHECK(error_text([&] { make_rotation("{type: hadamard, online: [o_proj, qk]}", config); }) == "(no error)");
  config.hidden_size = 100;
  CHECK(contains(error_text([&] { make_rotation("{type: hadamard, online: []}", config); }), "hidden_size is 100"));
  CHECK(error_text([&] { make_rotation("{type: none}", config); }) == "(no error)");
}

}  // namespace qroar
