// What other families have beside a Llama, under rescaling, its gradient, calibrated formats and a rotated cache.
#include "eval/gradient.h"
#include "model/angles.h"
#include "quant/plan.h"
#include "rescale/band_scales.h"
#include "support/logits.h"

namespace qroar {
namespace {

Llama model_with(const std::function<void(LlamaConfig&)>& change) {
  LlamaConfig config = small_llama_config();
  change(config);
  return random_llama(config, at::kDouble, 1);
}

/// A scale for every layer and pair: queries' and keys'.
BandScales scales_of_pairs(const LlamaConfig& config, const at::Tensor& log_g_LN) {
  BandScales scales;
  scales.layout.variant = BandVariant::independent;
  scales.layout.layers = config.num_hidden_layers;
  for (int64_t pair = 0; pair <= config.pairs(); ++pair) scales.layout.edges.push_back(pair);
  const at::Tensor g = log_g_LN.exp().flatten().contiguous();
  scales.g.assign(g.const_data_ptr<double>(), g.const_data_ptr<double>() + g.numel());
  return scales;
}

}  // namespace

TEST_CASE("the work of a forward is two operations a weight and token, and four a channel of a query and its key") {
  const LlamaConfig config = small_llama_config();
  double weights = 0;
  for (const LinearSite& site : linear_sites(config)) weights += static_cast<double>(site.rows * site.columns);
  const auto channels = static_cast<double>(config.num_attention_heads * config.head_dim);
  const double pairs = 12 * 13 / 2;  // of queries and keys of a layer
  CHECK(forward_flops(config, 12) ==
        Approx(2 * weights * 12 + 4 * channels * pairs * static_cast<double>(config.num_hidden_layers)));
}

TEST_CASE("Granite's multipliers are those of embeddings, of what sublayers add, and of the head's inverse") {
  const auto logits_of = [](const Llama& model) { return all_logits(model, "{type: none}"); };
  const Llama plain = model_with([](LlamaConfig&) {});
  Llama granite = plain, folded = plain;
  granite.config.embedding_multiplier = 3;
  granite.config.residual_multiplier = 0.4;
  granite.config.logits_scaling = 2;
  folded.embed_tokens_VD = plain.embed_tokens_VD * 3;
  folded.lm_head.weight_OI = plain.lm_head.weight_OI / 2;
  for (DecoderLayer& layer : folded.layers) {
    for (Linear* linear : {&layer.o_proj, &layer.down_proj}) {
      linear->weight_OI = linear->weight_OI * 0.4;
      if (linear->bias_O.defined()) linear->bias_O = linear->bias_O * 0.4;
    }
  }
  CHECK(largest_difference(logits_of(granite), logits_of(folded)) < 1e-10);
  CHECK(largest_difference(logits_of(granite), logits_of(plain)) > 1e-3);
}

TEST_CASE("the gradient by the scales of pairs is that of applying them, for the features of every family") {
  constexpr int64_t kTokens = 24;
  for (const auto& [feature, change] : model_features()) {
    const Llama model = model_with(change);
    const LlamaConfig& config = model.config;
    at::manual_seed(3);
    const at::Tensor tokens_T = at::randint(config.vocab_size, {kTokens}, at::kLong);
    const RopeTable table =
        make_scheme("{type: yarn, factor: 4}")->table({config.rotary_dim(), config.rope_theta, 10, kTokens}, kTokens);
    const ops::RopeAngles angles = rope_angles(table, kTokens, at::kDouble, at::kCPU, false);
    const ScaleGradient found = scale_gradient(model, tokens_T, angles, kTokens - 1);
    const at::Tensor gradient_LN = at::cat({found.query_LKP.squeeze(1), found.key_LKP.squeeze(1)}, 1);
    const auto nll_at = [&](const at::Tensor& log_g_LN) {
      Llama scaled = model;
      scale_bands(scales_of_pairs(config, log_g_LN), scaled);
      const at::Tensor hidden_RD = forward(scaled, tokens_T, angles).slice(0, 0, kTokens - 1);
      return ops::token_nll(logits(scaled, hidden_RD), tokens_T.slice(0, 1)).mean().item<double>();
    };
    CHECK(found.nll == Approx(nll_at(at::zeros_like(gradient_LN))).epsilon(1e-12));
    for (int64_t trial = 0; trial < 4; ++trial) {
      const at::Tensor direction_LN = at::randn(gradient_LN.sizes(), at::kDouble);
      constexpr double kStep = 1e-3;
      const auto along = [&](double step) { return nll_at(direction_LN * step); };
      const double slope = (8 * (along(kStep) - along(-kStep)) - (along(2 * kStep) - along(-2 * kStep))) / (12 * kStep);
      INFO(feature);
      CHECK((gradient_LN * direction_LN).sum().item<double>() == Approx(slope).epsilon(1e-6));
    }
  }
}

TEST_CASE("symmetric scales leave the logits alone whatever norms, windows and layers without RoPE a model has") {
  for (const auto& [feature, change] : model_features()) {
    const Llama model = model_with(change);
    BandScales scales;
    scales.layout.variant = BandVariant::symmetric;
    scales.layout.edges = {0, 2, model.config.pairs()};
    scales.g = {0.8, 1.3};
    Llama scaled = model;
    scale_bands(scales, scaled);
    INFO(feature);
    CHECK(largest_difference(all_logits(scaled), all_logits(model)) < 1e-10);
    const auto changes = [&](const at::Tensor& before, const at::Tensor& after) {
      return before.defined() && !at::equal(before, after);
    };
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
      const DecoderLayer &before = model.layers[i], &after = scaled.layers[i];
      CHECK(changes(before.q_norm_d, after.q_norm_d) == (before.heads.rope && before.q_norm_d.defined()));
      CHECK(changes(before.q_proj.weight_OI, after.q_proj.weight_OI) ==
            (before.heads.rope && !before.q_norm_d.defined()));
    }
  }
}

}  // namespace qroar
