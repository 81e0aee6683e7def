// T new tokens, N tokens up to the last of them, H query heads, K key/value heads, d head_dim, D hidden size.
#include "model/decode.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

Decoder::Decoder(const Llama& model, TableOf table_of, int64_t capacity, bool bfloat16_rope)
    : model_(model), table_of_(std::move(table_of)), capacity_(capacity), bfloat16_rope_(bfloat16_rope) {
  const LlamaConfig& config = model.config;
  const auto room = [&] {
    // The tokens of a head are contiguous, because attention reads one head after the other.
    return at::empty({config.num_key_value_heads, capacity, config.head_dim}, model.embed_tokens_VD.options())
        .transpose(0, 1);
  };
  // If a scheme has several tables (LongRoPE, dynamic schemes), those of the shortest and longest sequence differ.
  const RopeTable first = table_of_(1), last = table_of_(capacity);
  const bool keys_change = first != last;
  const auto if_needed = [&](bool needed) { return needed ? room() : at::Tensor(); };
  for (const DecoderLayer& layer : model.layers) {
    const bool couples = layer.heads.couples_tokens();  // rounded again at every append
    caches_.push_back(
        {if_needed(couples || keys_change), if_needed(couples), if_needed(!couples), if_needed(!couples)});
  }
}

void Decoder::take_table(int64_t length) {
  RopeTable table = table_of_(length);
  table_changed_ = table != table_;
  if (!table_changed_) return;
  table_ = std::move(table);
  const at::Tensor& weights = model_.embed_tokens_VD;
  angles_ = rope_angles(table_, capacity_, weights.scalar_type(), weights.device(), bfloat16_rope_);
}

at::Tensor Decoder::attend_cached(const DecoderLayer& layer, const ops::RopeAngles& new_angles, const at::Tensor& q_THd,
                                  const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  const HeadTransforms& heads = layer.heads;
  Cache& cache = caches_[static_cast<std::size_t>(&layer - model_.layers.data())];
  const int64_t end = length_ + q_THd.size(0);
  const auto keep = [&](at::Tensor& kept_NKd, const at::Tensor& x_TKd) {
    if (kept_NKd.defined()) kept_NKd.slice(0, length_, end).copy_(x_TKd);
  };
  keep(cache.raw_key_NKd, k_TKd);
  keep(cache.raw_value_NKd, v_TKd);
  const at::Tensor query_THd = heads.read_query(q_THd, new_angles);
  const auto all_raw_keys = [&] { return cache.raw_key_NKd.slice(0, 0, end).clone(); };
  if (!heads.couples_tokens()) {
    check(!table_changed_ || length_ == 0 || cache.raw_key_NKd.defined(),
          "a scheme of many tables has them at its ends");
    if (table_changed_ && length_ > 0) {
      cache.key_NKd.slice(0, 0, end).copy_(heads.cached_key(all_raw_keys(), angles_.slice(0, end)));
    } else {
      cache.key_NKd.slice(0, length_, end).copy_(heads.cached_key(k_TKd, new_angles));
    }
    cache.value_NKd.slice(0, length_, end).copy_(heads.value(v_TKd));
    return ops::causal_attention(query_THd, cache.key_NKd.slice(0, 0, end), cache.value_NKd.slice(0, 0, end),
                                 layer.attention);
  }
  const at::Tensor exact_v_NKd = cache.raw_value_NKd.slice(0, 0, end), value_NKd = heads.value(exact_v_NKd),
                   key_NKd = heads.cached_key(all_raw_keys(), angles_.slice(0, end));
  if (heads.residual == 0) return ops::causal_attention(query_THd, key_NKd, value_NKd, layer.attention);
  const at::Tensor exact_k_NKd = heads.with_rope(all_raw_keys(), angles_.slice(0, end));
  return ops::residual_attention(query_THd, key_NKd, value_NKd, exact_k_NKd, exact_v_NKd, heads.residual,
                                 layer.attention);
}

bool Decoder::decode_layer(const DecoderLayer& layer, at::Tensor& x_1D) {
  const Cache& cache = caches_[static_cast<std::size_t>(&layer - model_.layers.data())];
  if (table_changed_ || cache.raw_key_NKd.defined() || !layer.is_plain()) return false;
  if (model_.config.residual_multiplier != 1) return false;
  return ops::decode_layer_(
      x_1D,
      {layer.input_norm_D, layer.post_attention_norm_D, layer.q_norm_d, layer.k_norm_d, layer.q_proj, layer.k_proj,
       layer.v_proj, layer.o_proj, layer.gate_proj, layer.up_proj, layer.down_proj, model_.config.rms_norm_eps,
       layer.attention, layer.heads.rope, cache.key_NKd, cache.value_NKd},
      angles_, length_);
}

at::Tensor Decoder::append(const at::Tensor& tokens_T) {
  const int64_t end = length_ + tokens_T.size(0);
  check(end <= capacity_, "the cache has room for all tokens");
  take_table(end);
  Attention attention([this, new_angles = angles_.slice(length_, end)](
                          const DecoderLayer& layer, const at::Tensor& q_THd, const at::Tensor& k_TKd,
                          const at::Tensor& v_TKd) { return attend_cached(layer, new_angles, q_THd, k_TKd, v_TKd); });
  if (tokens_T.size(0) == 1) {
    attention.whole_layer = [this](const DecoderLayer& layer, at::Tensor& x_1D) { return decode_layer(layer, x_1D); };
  }
  at::Tensor hidden_TD = forward(model_, tokens_T, attention);
  length_ = end;
  return hidden_TD;
}

std::vector<int64_t> Decoder::greedy(at::Tensor hidden_D, int64_t count, const std::function<bool(int64_t)>& stop) {
  std::vector<int64_t> tokens;
  while (true) {
    // Returns the first of the largest logits, like argmax(), which takes four times as long.
    tokens.push_back(std::get<1>(logits(model_, hidden_D.unsqueeze(0)).max(1)).item<int64_t>());
    if (stop(tokens.back()) || std::ssize(tokens) == count) return tokens;
    hidden_D = append(at::tensor({tokens.back()}, at::kLong).to(model_.embed_tokens_VD.device()))[0];
  }
}

}  // namespace qroar
