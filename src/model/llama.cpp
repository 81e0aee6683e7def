// T tokens, D hidden size, H query heads, K key/value heads, d head_dim, F intermediate size, V vocabulary, R rows of a
// block.
#include "model/llama.h"

#include <algorithm>
#include <optional>

namespace qroar {
namespace {

/// Rows of the MLP computed at a time: gate and up are [rows, F], several times as large as the residual stream.
constexpr int64_t kMlpRows = 2048;

void observe(Observer* observer, const std::string& layer, const char* part, const at::Tensor& value) {
  if (observer != nullptr) observer->on(layer + part, value);
}

/// Returns heads [T, H, d], each normed over its channels where there is a weight.
at::Tensor normed_heads(const at::Tensor& x_THd, const at::Tensor& norm_d, double eps) {
  if (!norm_d.defined()) return x_THd;
  return ops::rms_norm(x_THd.flatten(0, 1), norm_d, eps).view_as(x_THd);
}

/// Applies parallel linear layers to the same x.
std::vector<at::Tensor> apply(std::initializer_list<const Linear*> linears, const at::Tensor& x_TI,
                              Observer* observer) {
  const bool share_input =
      std::ranges::all_of(linears, [](const Linear* linear) { return !linear->transforms_input(); });
  if (share_input && observer == nullptr) {
    std::vector<ops::Weights> weights;
    for (const Linear* linear : linears) weights.push_back(*linear);
    return ops::linears(x_TI, weights);
  }
  std::vector<at::Tensor> outputs;
  for (const Linear* linear : linears) outputs.push_back(apply(*linear, x_TI, observer));
  return outputs;
}

}  // namespace

at::Tensor apply(const Linear& linear, const at::Tensor& x_TI, Observer* observer) {
  const at::Tensor seen_TI = linear.input(x_TI);
  if (observer != nullptr) observer->on_input(linear.site, seen_TI);
  return ops::linear(seen_TI, linear.weight_OI, linear.bias_O);
}

void add_sublayer(at::Tensor& x_TD, const at::Tensor& y_TD, const LlamaConfig& config) {
  const double factor = config.residual_multiplier;
  const at::Tensor addend_TD = factor == 1 ? y_TD : y_TD * factor;
  if (ops::is_differentiated(y_TD)) {
    x_TD = x_TD + addend_TD;
  } else {
    x_TD.add_(addend_TD);
  }
}

at::Tensor attend(const DecoderLayer& layer, const ops::RopeAngles& angles, const at::Tensor& q_THd,
                  const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  const HeadTransforms& heads = layer.heads;
  const ops::RopeAngles own = angles.slice(0, q_THd.size(0));
  const at::Tensor query_THd = heads.read_query(q_THd, own);
  const at::Tensor exact_TKd = heads.residual > 0 ? heads.with_rope(k_TKd.clone(), own) : at::Tensor();
  const at::Tensor key_TKd = heads.cached_key(k_TKd, own), value_TKd = heads.value(v_TKd);
  return heads.residual > 0
             ? ops::residual_attention(query_THd, key_TKd, value_TKd, exact_TKd, v_TKd, heads.residual, layer.attention)
             : ops::causal_attention(query_THd, key_TKd, value_TKd, layer.attention);
}

Attention::Attention(const ops::RopeAngles& angles)
    : attend([angles](const DecoderLayer& layer, const at::Tensor& q_THd, const at::Tensor& k_TKd,
                      const at::Tensor& v_TKd) { return qroar::attend(layer, angles, q_THd, k_TKd, v_TKd); }) {}

at::Tensor embed(const Llama& model, const at::Tensor& tokens_T) {
  at::Tensor x_TD = at::embedding(model.embed_tokens_VD, tokens_T);
  const double factor = model.config.embedding_multiplier;
  return factor == 1 ? x_TD : x_TD.mul_(factor);
}

at::Tensor mixed_heads(const DecoderLayer& layer, const LlamaConfig& config, const at::Tensor& x_TD,
                       const Attention& attention, Observer* observer) {
  const int64_t T = x_TD.size(0), d = config.head_dim;
  const std::vector<at::Tensor> qkv = apply({&layer.q_proj, &layer.k_proj, &layer.v_proj}, x_TD, observer);
  const double eps = config.rms_norm_eps;
  const at::Tensor q_THd = normed_heads(qkv[0].view({T, config.num_attention_heads, d}), layer.q_norm_d, eps),
                   k_TKd = normed_heads(qkv[1].view({T, config.num_key_value_heads, d}), layer.k_norm_d, eps),
                   v_TKd = qkv[2].view({T, config.num_key_value_heads, d});
  observe(observer, layer.site, ".self_attn.q_proj", q_THd);
  observe(observer, layer.site, ".self_attn.k_proj", k_TKd);
  observe(observer, layer.site, ".self_attn.v_proj", v_TKd);
  return attention.attend(layer, q_THd, k_TKd, v_TKd).reshape({T, config.num_attention_heads * d});
}

at::Tensor self_attention(const DecoderLayer& layer, const LlamaConfig& config, const at::Tensor& x_TD,
                          const Attention& attention, Observer* observer) {
  return apply(layer.o_proj, mixed_heads(layer, config, x_TD, attention, observer), observer);
}

at::Tensor gated(const DecoderLayer& layer, const at::Tensor& x_TD, Observer* observer) {
  const std::vector<at::Tensor> gate_and_up = apply({&layer.gate_proj, &layer.up_proj}, x_TD, observer);
  return ops::silu_mul(gate_and_up[0], gate_and_up[1]);
}

at::Tensor mlp(const DecoderLayer& layer, const at::Tensor& x_TD, Observer* observer) {
  const int64_t T = x_TD.size(0);
  const auto of_rows = [&](const at::Tensor& x_RD) {
    return apply(layer.down_proj, gated(layer, x_RD, observer), observer);
  };
  if (T <= kMlpRows) return of_rows(x_TD);
  at::Tensor y_TD = at::empty_like(x_TD);
  for (int64_t begin = 0; begin < T; begin += kMlpRows) {
    const int64_t end = std::min(begin + kMlpRows, T);
    y_TD.slice(0, begin, end).copy_(of_rows(x_TD.slice(0, begin, end)));
  }
  return y_TD;
}

void decoder_layer(const DecoderLayer& layer, const LlamaConfig& config, at::Tensor& x_TD, const Attention& attention,
                   Observer* observer) {
  if (!layer.is_resident()) {
    decoder_layer(layer.loaded(), config, x_TD, attention, observer);
    return;
  }
  const at::Tensor mixed_TD =
      self_attention(layer, config, ops::rms_norm(x_TD, layer.input_norm_D, config.rms_norm_eps), attention, observer);
  observe(observer, layer.site, ".self_attn", mixed_TD);
  add_sublayer(x_TD, mixed_TD, config);
  const at::Tensor mlp_TD = mlp(layer, ops::rms_norm(x_TD, layer.post_attention_norm_D, config.rms_norm_eps), observer);
  observe(observer, layer.site, ".mlp", mlp_TD);
  add_sublayer(x_TD, mlp_TD, config);
  observe(observer, layer.site, "", x_TD);
}

std::vector<at::Tensor> forward(const Llama& model, const std::vector<Pass>& passes, Observer* observer,
                                const std::function<void()>& after_layer) {
  std::vector<at::Tensor> streams;
  for (const Pass& pass : passes) {
    streams.push_back(embed(model, pass.tokens_T));
    observe(observer, "embed_tokens", "", streams.back());
  }
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const DecoderLayer& layer = model.layers[i];
    std::optional<DecoderLayer> made;
    if (!layer.is_resident()) {
      made = layer.loaded();
      if (i + 1 < model.layers.size()) model.layers[i + 1].read_ahead();
    }
    for (std::size_t k = 0; k < passes.size(); ++k) {
      const Attention& attention = passes[k].attention;
      if (attention.whole_layer(layer, streams[k])) continue;
      decoder_layer(made ? *made : layer, model.config, streams[k], attention, observer);
    }
    after_layer();
  }
  for (at::Tensor& x_TD : streams) {
    x_TD = ops::rms_norm(x_TD, model.norm_D, model.config.rms_norm_eps);
    observe(observer, "norm", "", x_TD);
  }
  return streams;
}

at::Tensor forward(const Llama& model, const at::Tensor& tokens_T, const Attention& attention, Observer* observer) {
  return forward(model, {{tokens_T, attention}}, observer).front();
}

at::Tensor logits(const Llama& model, const at::Tensor& hidden_RD, Observer* observer) {
  const double divisor = model.config.logits_scaling;
  at::Tensor logits_RV = apply(model.lm_head, hidden_RD, observer);
  if (divisor != 1) logits_RV = logits_RV / divisor;
  observe(observer, model.lm_head.site, "", logits_RV);
  return logits_RV;
}

double forward_flops(const LlamaConfig& config, int64_t T, int64_t behind) {
  const auto tokens = static_cast<double>(T);
  const auto heads = static_cast<double>(config.num_attention_heads), d = static_cast<double>(config.head_dim);
  const auto kv_heads = static_cast<double>(config.num_key_value_heads),
             hidden = static_cast<double>(config.hidden_size);
  const double projections =
      hidden * d * (2 * heads + 2 * kv_heads) + 3 * hidden * static_cast<double>(config.intermediate_size);
  double attention_pairs = 0;  // of all layers
  for (const LayerConfig& layer : config.layers) attention_pairs += layer.attention.pairs(T, behind);
  const auto layers = static_cast<double>(config.num_hidden_layers);
  return layers * 2 * projections * tokens + 4 * heads * d * attention_pairs +
         2 * hidden * static_cast<double>(config.vocab_size) * tokens;
}

int64_t cache_bytes(const LlamaConfig& config, int64_t T, int64_t element_size) {
  return 2 * T * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * element_size;
}

int64_t forward_bytes(const LlamaConfig& config, int64_t T, int64_t element_size) {
  // The residual stream, a normed copy, the sublayer output and its addend; q and the attention output twice; k and v
  // with packed copies.
  const int64_t per_token = 4 * config.hidden_size + 3 * config.num_attention_heads * config.head_dim +
                            4 * config.num_key_value_heads * config.head_dim;
  const int64_t angles = 2 * T * config.head_dim / 2 * 4;
  return T * per_token * element_size + angles + 3 * kMlpRows * config.intermediate_size * element_size;
}

}  // namespace qroar
