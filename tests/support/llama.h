// Small models with random weights.
#pragma once
#include <ATen/ATen.h>
#include <fmt/core.h>

#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "model/llama.h"
#include "model/site.h"

namespace qroar {

/// Two layers, grouped queries, an untied lm_head, no biases.
inline LlamaConfig small_llama_config() {
  LlamaConfig config;
  config.vocab_size = 50;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.max_position_embeddings = config.trained_length = 64;
  config.rms_norm_eps = 1e-5;
  config.layers.resize(2);
  return config;
}

/// What families other than Llama have, one feature at a time and all at once; for windows of some 40 tokens.
inline const std::vector<std::pair<const char*, std::function<void(LlamaConfig&)>>>& model_features() {
  static const std::vector<std::pair<const char*, std::function<void(LlamaConfig&)>>> features{
      {"plain", [](LlamaConfig&) {}},
      {"biases of q, k and v", [](LlamaConfig& config) { config.qkv_bias = true; }},
      {"norm of queries and keys", [](LlamaConfig& config) { config.qk_norm = true; }},
      {"sliding window", [](LlamaConfig& config) { config.layers[1].attention.sliding_window = 7; }},
      {"layer without RoPE", [](LlamaConfig& config) { config.layers[0].rope = false; }},
      {"partly rotated heads", [](LlamaConfig& config) { config.partial_rotary_factor = 0.5; }},
      {"multipliers",
       [](LlamaConfig& config) {
         config.embedding_multiplier = 3;
         config.residual_multiplier = 0.4;
         config.logits_scaling = 2;
         for (LayerConfig& layer : config.layers) layer.attention.scaling = 0.3;
       }},
      {"all", [](LlamaConfig& config) {
         config.qkv_bias = config.o_bias = config.mlp_bias = config.qk_norm = true;
         config.layers[0].attention = {5, 0.2};
         config.layers[1].rope = false;
         config.partial_rotary_factor = 0.75;
         config.embedding_multiplier = config.residual_multiplier = config.logits_scaling = 0.5;
       }}};
  return features;
}

/// Weights of unit gain and norm weights around 1, drawn in float64, so that every dtype gets the same ones.
inline Llama random_llama(const LlamaConfig& config, at::ScalarType dtype, uint64_t seed,
                          const at::Device& device = at::kCPU) {
  at::manual_seed(seed);
  const auto drawn = at::TensorOptions(device).dtype(at::kDouble);
  const auto normal = [&](at::IntArrayRef shape, double scale) { return (at::randn(shape, drawn) * scale).to(dtype); };
  const auto norm_of = [&](int64_t size) { return (1 + 0.1 * at::randn({size}, drawn)).to(dtype); };
  const auto norm = [&] { return norm_of(config.hidden_size); };
  Llama model;
  model.config = config;
  model.embed_tokens_VD = normal({config.vocab_size, config.hidden_size}, 1);
  model.layers.resize(static_cast<std::size_t>(config.num_hidden_layers));
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    model.layers[i].site = fmt::format("layers.{}", i);
    model.layers[i].input_norm_D = norm();
    model.layers[i].post_attention_norm_D = norm();
    const LayerConfig own = i < config.layers.size() ? config.layers[i] : LayerConfig();
    model.layers[i].attention = own.attention;
    model.layers[i].heads.rope = own.rope;
    if (!config.qk_norm) continue;
    model.layers[i].q_norm_d = norm_of(config.head_dim);
    model.layers[i].k_norm_d = norm_of(config.head_dim);
  }
  model.norm_D = norm();
  const std::vector<LinearSite> sites = linear_sites(config);
  std::size_t next = 0;
  model.each_linear([&](Linear& linear) {
    const LinearSite& own = sites[next++];
    linear.site = own.name;
    linear.weight_OI = normal({own.rows, own.columns}, 1 / std::sqrt(static_cast<double>(own.columns)));
    if (own.name != "lm_head" && has_bias(config, own.name)) linear.bias_O = normal({own.rows}, 0.1);
  });
  return model;
}

}  // namespace qroar
