// What tests of functions that leave a model's logits alone share: small models with every feature, and their logits.
#pragma once
#include <string>
#include <vector>

#include "model/angles.h"
#include "support/catch.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {

/// The logits of 40 tokens, more than twice the trained length that the scheme is told.
inline at::Tensor all_logits(const Llama& model, const std::string& scheme = "{type: none}") {
  constexpr int64_t kTokens = 40;
  at::manual_seed(9);
  const at::Tensor tokens = at::randint(model.config.vocab_size, {kTokens}, at::kLong);
  const LlamaConfig& config = model.config;
  const RopeTable table =
      make_scheme(scheme)->table({config.rotary_dim(), config.rope_theta, 16, kTokens, ""}, kTokens);
  const at::ScalarType dtype = model.embed_tokens_VD.scalar_type();
  return logits(model, forward(model, tokens, rope_angles(table, kTokens, dtype, at::kCPU, false)));
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

/// Calls check(full, scheme, logits) for float64 models with every number of key/value heads, tied or not, with biases
/// or without, and with every feature of other families, under plain RoPE and YaRN.
template <class Check>
void each_small_model(const std::vector<int64_t>& numbers_of_kv_heads, const Check& check) {
  const auto check_model = [&](const LlamaConfig& config) {
    Llama full = random_llama(config, at::kDouble, 1);
    if (config.tie_word_embeddings) full.lm_head.weight_OI = full.embed_tokens_VD;
    for (const char* scheme : {"{type: none}", "{type: yarn, factor: 4}"}) {
      CAPTURE(scheme);
      check(full, scheme, all_logits(full, scheme));
    }
  };
  for (const int64_t kv_heads : numbers_of_kv_heads) {
    for (const bool tied : {false, true}) {
      for (const bool bias : {false, true}) {
        LlamaConfig config = small_llama_config();
        config.num_key_value_heads = kv_heads;
        config.tie_word_embeddings = tied;
        config.qkv_bias = config.o_bias = config.mlp_bias = bias;
        CAPTURE(kv_heads, tied, bias);
        check_model(config);
      }
    }
  }
  for (const auto& [feature, change] : model_features()) {
    LlamaConfig config = small_llama_config();
    change(config);
    CAPTURE(feature);
    check_model(config);
  }
}

}  // namespace qroar
