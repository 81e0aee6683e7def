// The gradient by scales against finite differences of the NLL, against autograd over the whole model at once, and
// through everything that is done to activations.
#include "eval/gradient.h"

#include <c10/core/GradMode.h>

#include <cmath>
#include <memory>

#include "checkpoint/checkpoint.h"
#include "data/dataset.h"
#include "model/angles.h"
#include "ops/hadamard.h"
#include "quant/plan.h"
#include "support/catch.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {
namespace {

constexpr int64_t kTokens = 40;
constexpr int64_t kTrainedLength = 10;  // under YaRN at kTokens: an attention factor of 1.14

ops::RopeAngles yarn_angles(const LlamaConfig& config, int64_t T, at::ScalarType dtype) {
  const RopeTable table =
      make_scheme("{type: yarn, factor: 4}")->table({config.head_dim, config.rope_theta, kTrainedLength, T}, T);
  REQUIRE(table.attention_factor > 1.1);
  return rope_angles(table, T, dtype, at::kCPU, false);
}

at::Tensor random_tokens(const LlamaConfig& config, int64_t T) {
  at::manual_seed(3);
  return at::randint(config.vocab_size, {T}, at::kLong);
}

/// Grouped queries or a key head for each query head, with or without biases.
Llama small_llama(int64_t kv_heads, bool bias, at::ScalarType dtype = at::kDouble) {
  LlamaConfig config = small_llama_config();
  config.num_key_value_heads = kv_heads;
  config.qkv_bias = config.o_bias = config.mlp_bias = bias;
  return random_llama(config, dtype, 1);
}

/// The definition: the mean over the last `scored` tokens.
at::Tensor mean_nll(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles, int64_t scored) {
  const int64_t last = tokens_T.size(0) - 1;
  const at::Tensor hidden_RD = forward(model, tokens_T, angles).slice(0, last - scored, last);
  return ops::token_nll(logits(model, hidden_RD), tokens_T.slice(0, last - scored + 1)).mean();
}

/// The projection with its output channels scaled by exp(logarithms of pairs).
Linear scaled(const Linear& linear, const at::Tensor& log_scale_P) {
  const int64_t head_dim = 2 * log_scale_P.size(0);
  const at::Tensor scale_O =
      log_scale_P.exp().to(linear.weight_OI.scalar_type()).repeat({2 * linear.weight_OI.size(0) / head_dim});
  Linear result = linear;
  result.weight_OI = linear.weight_OI * scale_O.unsqueeze(1);
  if (linear.bias_O.defined()) result.bias_O = linear.bias_O * scale_O;
  return result;
}

/// Central differences of fourth order.  The step leaves an error of some step^4 = 2e-11 of the derivatives, and
/// rounding one of 1e-15 / step = 5e-13.
at::Tensor finite_differences(const std::function<Llama()>& make, Linear DecoderLayer::*projection,
                              const at::Tensor& tokens_T, const ops::RopeAngles& angles, int64_t scored) {
  constexpr double step = 2e-3;
  const LlamaConfig config = make().config;
  at::Tensor result_LP = at::empty({config.num_hidden_layers, config.head_dim / 2}, at::kDouble);
  for (int64_t layer = 0; layer < result_LP.size(0); ++layer) {
    for (int64_t pair = 0; pair < result_LP.size(1); ++pair) {
      const auto nll_at = [&](double log_scale) {
        Llama model = make();
        at::Tensor log_scale_P = at::zeros({result_LP.size(1)}, at::kDouble);
        log_scale_P[pair] = log_scale;
        Linear& linear = model.layers[static_cast<std::size_t>(layer)].*projection;
        linear = scaled(linear, log_scale_P);
        return mean_nll(model, tokens_T, angles, scored).item<double>();
      };
      result_LP[layer][pair] =
          (8 * (nll_at(step) - nll_at(-step)) - (nll_at(2 * step) - nll_at(-2 * step))) / (12 * step);
    }
  }
  return result_LP;
}

/// The greatest |got - want| / |want|.
double relative_error(const at::Tensor& got, const at::Tensor& want) {
  return ((got - want).abs() / want.abs()).max().item<double>();
}

/// The greatest error of a layer's vector, as a share of the vector's length.
double layer_error(const at::Tensor& got_LP, const at::Tensor& want_LP) {
  return ((got_LP - want_LP).norm(2, 1) / want_LP.norm(2, 1)).max().item<double>();
}

/// Checks every layer and pair of a model and returns the gradient.  `make` gives the same model every time but for
/// what it does to activations: as `model` does, in a way that can be differentiated by differences.
ScaleGradient check_gradient(const Llama& model, const std::function<Llama()>& make, int64_t scored) {
  const at::Tensor tokens_T = random_tokens(model.config, kTokens);
  const ops::RopeAngles angles = yarn_angles(model.config, kTokens, at::kDouble);
  ScaleGradient found = scale_gradient(model, tokens_T, angles, scored);
  CHECK(found.nll == Approx(mean_nll(model, tokens_T, angles, scored).item<double>()).epsilon(1e-12));
  const auto differences = [&](Linear DecoderLayer::*projection) {
    return finite_differences(make, projection, tokens_T, angles, scored);
  };
  CHECK(relative_error(found.query_LKP.squeeze(1), differences(&DecoderLayer::q_proj)) < 1e-6);
  CHECK(relative_error(found.key_LKP.squeeze(1), differences(&DecoderLayer::k_proj)) < 1e-6);
  return found;
}

ScaleGradient check_gradient(const Llama& model, int64_t scored) {
  return check_gradient(
      model, [&] { return model; }, scored);
}

Llama quantized(const Llama& full, const std::string& yaml) {
  const QuantPlan plan(Config::parse(yaml, "plan.yaml"), full.config);
  return apply(plan, prepare(plan, full), {});
}

/// A function that adds what `transform` added at its first call: its true derivative is the identity, and at the point
/// of that call it has the transform's value.  So the straight-through gradient is the gradient with these in place.
Transform frozen(const Transform& transform) {
  if (!transform.function) return {};
  const auto added = std::make_shared<at::Tensor>();
  return {[transform, added](const at::Tensor& x) {
    if (!added->defined()) *added = transform(x) - x;
    return x + *added;
  }};
}

/// The model with its fake quantization of activations frozen at the values of this text.
Llama with_frozen(Llama model, const at::Tensor& tokens_T, const ops::RopeAngles& angles) {
  model.each_linear([](Linear& linear) { linear.input = frozen(linear.input); });
  for (DecoderLayer& layer : model.layers) {
    HeadTransforms& heads = layer.heads;
    for (Transform* transform : {&heads.query, &heads.key_before_rope, &heads.key, &heads.value}) {
      *transform = frozen(*transform);
    }
  }
  logits(model, forward(model, tokens_T, angles).slice(0, 0, kTokens - 1));
  return model;
}

}  // namespace

TEST_CASE("the gradient is the slope of the NLL by every pair's scale, whatever the heads and biases", "[gradient]") {
  for (const int64_t kv_heads : {4, 2}) {
    for (const bool bias : {false, true}) {
      CAPTURE(kv_heads, bias);
      const ScaleGradient found = check_gradient(small_llama(kv_heads, bias), kTokens - 1);
      const at::Tensor tokens_T = random_tokens(small_llama_config(), kTokens);
      const Llama model = small_llama(kv_heads, bias);
      const ScaleGradient by_head =
          scale_gradient(model, tokens_T, yarn_angles(model.config, kTokens, at::kDouble), kTokens - 1, kv_heads);
      CHECK(relative_error(by_head.query_LKP.sum(1), found.query_LKP.squeeze(1)) < 1e-10);
      // A head's keys meet its own queries alone, so that even by head the two derivatives agree.
      CHECK(relative_error(by_head.query_LKP, by_head.key_LKP) < 1e-9);
      // Scores read the product of a query's and a key's scale only.
      CHECK(relative_error(found.query_LKP.squeeze(1), found.key_LKP.squeeze(1)) < 1e-10);
    }
  }
}

TEST_CASE("the gradient by frequency is the slope of the NLL when one layer's pair turns faster", "[gradient]") {
  const Llama model = small_llama(2, true);
  const at::Tensor tokens_T = random_tokens(model.config, kTokens);
  const RopeTable table =
      make_scheme("{type: yarn, factor: 4}")
          ->table({model.config.head_dim, model.config.rope_theta, kTrainedLength, kTokens}, kTokens);
  const auto angles = [&](const RopeTable& own) { return rope_angles(own, kTokens, at::kDouble, at::kCPU, false); };
  const ScaleGradient found = scale_gradient(model, tokens_T, angles(table), kTokens - 1);
  at::Tensor differences_LP = at::empty_like(found.frequency_LP);
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    for (std::size_t pair = 0; pair < table.inv_freq.size(); ++pair) {
      const auto nll_at = [&](double step) {
        RopeTable turned = table;
        turned.inv_freq[pair] += step;
        at::Tensor x_TD = at::embedding(model.embed_tokens_VD, tokens_T);
        for (std::size_t n = 0; n < model.layers.size(); ++n) {
          decoder_layer(model.layers[n], model.config, x_TD, angles(n == layer ? turned : table));
        }
        const at::Tensor hidden_TD = ops::rms_norm(x_TD, model.norm_D, model.config.rms_norm_eps);
        return ops::token_nll(logits(model, hidden_TD.slice(0, 0, kTokens - 1)), tokens_T.slice(0, 1))
            .mean()
            .item<double>();
      };
      constexpr double step = 1e-4;  // positions up to 39 make it 39 times as large
      differences_LP[static_cast<int64_t>(layer)][static_cast<int64_t>(pair)] =
          (8 * (nll_at(step) - nll_at(-step)) - (nll_at(2 * step) - nll_at(-2 * step))) / (12 * step);
    }
  }
  CHECK(relative_error(found.frequency_LP, differences_LP) < 1e-5);
}

TEST_CASE("only scored tokens count", "[gradient]") {
  const Llama model = small_llama(2, false);
  for (const int64_t scored : {1, 7}) {
    CAPTURE(scored);
    check_gradient(model, scored);
  }
}

TEST_CASE("a call without scored tokens, or with the first one scored, is an internal error", "[gradient]") {
  const Llama model = small_llama(2, false);
  const ops::RopeAngles angles = yarn_angles(model.config, kTokens, at::kDouble);
  const at::Tensor tokens_T = random_tokens(model.config, kTokens);
  CHECK_THROWS_AS(scale_gradient(model, tokens_T, angles, 0), InternalError);
  CHECK_THROWS_AS(scale_gradient(model, tokens_T, angles, kTokens), InternalError);
}

TEST_CASE("layer by layer and in blocks of logits the gradient is that of the whole model at once", "[gradient]") {
  constexpr int64_t T = 2300;  // more than one block of the MLP, and many of logits
  const Llama model = small_llama(2, true);
  const at::Tensor tokens_T = random_tokens(model.config, T);
  const ops::RopeAngles angles = yarn_angles(model.config, T + 5, at::kDouble);
  const ScaleGradient found = scale_gradient(model, tokens_T, angles, T - 1);

  Llama whole = model;
  std::vector<at::Tensor> query_P, key_P;
  for (DecoderLayer& layer : whole.layers) {
    for (auto [linear, log_scales] : {std::pair{&layer.q_proj, &query_P}, std::pair{&layer.k_proj, &key_P}}) {
      log_scales->push_back(at::zeros({model.config.head_dim / 2}, at::kDouble).requires_grad_());
      *linear = scaled(*linear, log_scales->back());
    }
  }
  mean_nll(whole, tokens_T, angles, T - 1).backward();
  for (std::size_t n = 0; n < whole.layers.size(); ++n) {
    CAPTURE(n);
    const auto row = static_cast<int64_t>(n);
    CHECK(layer_error(found.query_LKP.squeeze(1).slice(0, row, row + 1), query_P[n].grad().unsqueeze(0)) < 1e-10);
    CHECK(layer_error(found.key_LKP.squeeze(1).slice(0, row, row + 1), key_P[n].grad().unsqueeze(0)) < 1e-10);
  }
  // And nothing is left on the model or in autograd's mode.
  CHECK_FALSE(model.layers[0].q_proj.weight_OI.requires_grad());
  CHECK(c10::GradMode::is_enabled());
}

TEST_CASE("on tiny-books the gradient in float32 is that in float64, and bfloat16 gives its direction", "[gradient]") {
  const auto folder = std::filesystem::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books";
  const Checkpoint checkpoint(folder);
  const Dataset corpus =
      load_corpus(std::filesystem::path(QROAR_SOURCE_DIR) / "tests/support/text.jsonl", folder, checkpoint.config());
  std::vector<int64_t> tokens{checkpoint.config().bos_token_id.value()};
  for (const Document& document : corpus.documents) {
    tokens.insert(tokens.end(), document.tokens.begin(), document.tokens.end());
  }
  REQUIRE(tokens.size() >= 1024);
  tokens.resize(1024);
  const auto gradient_in = [&](at::ScalarType dtype) {
    const Llama model = checkpoint.build(dtype, at::kCPU);
    const c10::NoGradGuard as_in_the_program;
    return scale_gradient(model, at::tensor(tokens, at::kLong), yarn_angles(model.config, 1024, dtype), 1023);
  };
  const ScaleGradient exact = gradient_in(at::kDouble), single = gradient_in(at::kFloat),
                      half = gradient_in(at::kBFloat16);
  CHECK(single.nll == Approx(exact.nll).epsilon(1e-5));
  CHECK(layer_error(single.query_LKP.squeeze(1), exact.query_LKP.squeeze(1)) < 1e-4);
  CHECK(layer_error(single.key_LKP.squeeze(1), exact.key_LKP.squeeze(1)) < 1e-4);
  // Every element carries an error of 2^-9 and more, which the sums over tokens and heads do not wholly average out.
  CHECK(half.nll == Approx(exact.nll).epsilon(1e-2));
  CHECK(layer_error(half.query_LKP.squeeze(1), exact.query_LKP.squeeze(1)) < 0.1);
  CHECK(layer_error(half.key_LKP.squeeze(1), exact.key_LKP.squeeze(1)) < 0.1);
}

TEST_CASE("quantized weights are constants like others, and rotations are followed exactly", "[gradient]") {
  for (const char* yaml :
       {"quant: [{match: '*', weight: {type: rtn, bits: 3, group: 32}}]",
        "{rotation: {type: hadamard}, quant: [{match: 'layers.*', weight: {type: rtn, bits: 3, group: 32}}]}"}) {
    CAPTURE(yaml);
    const ScaleGradient found = check_gradient(quantized(small_llama(2, true), yaml), kTokens - 1);
    CHECK(relative_error(found.query_LKP.squeeze(1), found.key_LKP.squeeze(1)) < 1e-10);
  }
}

TEST_CASE("fake-quantized activations have the straight-through gradient", "[gradient]") {
  const std::string kv =
      "kv: {type: fake_quant, key: {type: rtn, bits: 2, group: 4}, value: {type: rtn, bits: 2, group: 4}, ";
  for (const std::string& yaml :
       {kv + "query: {type: rtn, bits: 3, group: 0}, key_rope: after}",
        kv + "key_rope: before, key_axis: channel, residual: 5}",
        std::string(
            "quant: [{match: 'layers.*', input: {type: rtn, bits: 3, group: 0, symmetric: true, clip: 0.8}}]")}) {
    CAPTURE(yaml);
    const Llama model = quantized(small_llama(2, true), yaml);
    const Llama surrogate =
        with_frozen(model, random_tokens(model.config, kTokens), yarn_angles(model.config, kTokens, at::kDouble));
    const ScaleGradient found = check_gradient(
        model, [&] { return surrogate; }, kTokens - 1);
    const ScaleGradient full = scale_gradient(small_llama(2, true), random_tokens(model.config, kTokens),
                                              yarn_angles(model.config, kTokens, at::kDouble), kTokens - 1);
    CHECK(layer_error(found.query_LKP.squeeze(1), full.query_LKP.squeeze(1)) > 1e-2);
    // Only what treats queries and keys alike, and behind their scales, leaves their gradients equal.
    const bool alike = yaml.starts_with("quant");
    CHECK((relative_error(found.query_LKP.squeeze(1), found.key_LKP.squeeze(1)) < 1e-10) == alike);
  }
}

TEST_CASE("autograd sees the identity for a transform and its values stay to the bit, in a chain too", "[gradient]") {
  at::manual_seed(4);
  const at::Tensor x = at::randn({5, 64}, at::kDouble).to(at::kBFloat16).requires_grad_();
  const Transform coarse{[](const at::Tensor& y) { return (y * 0.3).round() * 3; }};
  CHECK(at::equal(coarse(x), coarse(x.detach())));
  coarse(x).backward(at::ones_like(x));
  CHECK(at::equal(x.grad(), at::ones_like(x)));

  const at::Tensor wide = x.detach().to(at::kDouble).requires_grad_(), slope = at::randn({5, 64}, at::kDouble);
  const Transform wide_rotation{ops::Hadamard(64, at::kDouble, at::kCPU), false, /*differentiable=*/true};
  wide_rotation.then(coarse)(wide).backward(slope);
  CHECK((wide.grad() - slope.matmul(ops::reference::hadamard_signs(64)) / 8).abs().max().item<double>() < 1e-14);
}

TEST_CASE("autograd goes through a Hadamard transform as through the product with its matrix", "[gradient]") {
  at::manual_seed(5);
  for (const int64_t n : {1, 2, 12, 64, 96, 176, 256, 344}) {
    CAPTURE(n);
    const ops::Hadamard hadamard(n, at::kDouble, at::kCPU);
    const at::Tensor x = at::randn({3, 2, n}, at::kDouble), slope = at::randn({3, 2, n}, at::kDouble);
    const at::Tensor followed = x.clone().requires_grad_(), y = hadamard(followed);
    CHECK((y - hadamard(x)).abs().max().item<double>() < 1e-13);
    y.backward(slope);
    const at::Tensor want = slope.matmul(ops::reference::hadamard_signs(n)) / std::sqrt(static_cast<double>(n));
    CHECK((followed.grad() - want).abs().max().item<double>() < 1e-13);
  }
}

}  // namespace qroar
