// Small models with random weights.
#pragma once
#include <ATen/ATen.h>
#include <fmt/core.h>

#include <cmath>

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
  return config;
}

/// Weights of unit gain and norm weights around 1, drawn in float64, so that every dtype gets the same ones.
inline Llama random_llama(const LlamaConfig& config, at::ScalarType dtype, uint64_t seed,
                          const at::Device& device = at::kCPU) {
  at::manual_seed(seed);
  const auto drawn = at::TensorOptions(device).dtype(at::kDouble);
  const auto normal = [&](at::IntArrayRef shape, double scale) { return (at::randn(shape, drawn) * scale).to(dtype); };
  const auto norm = [&] { return (1 + 0.1 * at::randn({config.hidden_size}, drawn)).to(dtype); };
  Llama model;
  model.config = config;
  model.embed_tokens_VD = normal({config.vocab_size, config.hidden_size}, 1);
  model.layers.resize(static_cast<std::size_t>(config.num_hidden_layers));
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    model.layers[i].site = fmt::format("layers.{}", i);
    model.layers[i].input_norm_D = norm();
    model.layers[i].post_attention_norm_D = norm();
  }
  model.norm_D = norm();
  const std::vector<LinearSite> sites = linear_sites(config);
  std::size_t next = 0;
  model.each_linear([&](Linear& linear) {
    const LinearSite& own = sites[next++];
    linear.site = own.name;
    linear.weight_OI = normal({own.rows, own.columns}, 1 / std::sqrt(static_cast<double>(own.columns)));
    const bool in_mlp = own.name.find(".mlp.") != std::string::npos;
    const bool has_bias = own.name != "lm_head" && (in_mlp ? config.mlp_bias : config.attention_bias);
    if (has_bias) linear.bias_O = normal({own.rows}, 0.1);
  });
  return model;
}

}  // namespace qroar
