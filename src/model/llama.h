// The Llama family decoder (Touvron et al. arXiv 2307.09288; grouped-query attention of Ainslie et al. arXiv
// 2305.13245) as plain structs of tensors.  It knows no RoPE scheme, bit width or metric: those reach it as angles and
// as weights.
#pragma once
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "model/llama_config.h"
#include "model/observer.h"
#include "ops/ops.h"

namespace qroar {

/// What is done to activations on their way, such as fake quantization or a rotation; shape and dtype are kept.
/// Autograd goes through a differentiable one; of others it sees the identity, the straight-through estimator (Bengio
/// et al. arXiv 1308.3432), since rounding has the derivative 0 almost everywhere.
struct Transform {
  std::function<at::Tensor(const at::Tensor&)> function;  ///< empty: nothing is done
  bool couples_tokens = false;                            ///< one token's result depends on others', in a cache
  bool differentiable = false;                            ///< autograd can follow the function

  at::Tensor operator()(const at::Tensor& x) const {
    if (!function) return x;
    if (differentiable || !ops::is_differentiated(x)) return function(x);
    return function(x.detach()) + (x - x.detach());
  }

  /// This one, and `next` on its result.
  Transform then(const Transform& next) const {
    return {[first = *this, next](const at::Tensor& x) { return next(first(x)); },
            couples_tokens || next.couples_tokens, /*differentiable=*/true};
  }
};

struct Linear : ops::Weights {
  std::string site;
  Transform input;  ///< of what the weight is multiplied with, [T, inputs]

  bool transforms_input() const { return static_cast<bool>(input.function); }
};

/// What is done between the projections and the attention, to [T, heads, d].
struct HeadTransforms {
  Transform rotate;           ///< queries and keys after RoPE
  Transform query;            ///< after `rotate`
  Transform key_before_rope;  ///< as the cache holds keys that it stores before RoPE
  Transform key;              ///< as the cache holds keys that it stores after RoPE and `rotate`
  Transform value;            ///< as the cache holds values
  int64_t residual = 0;       ///< a query sees itself and the residual-1 tokens before it not through the cache

  std::array<const Transform*, 5> transforms() const { return {&rotate, &query, &key_before_rope, &key, &value}; }

  /// Does what a query reads depend on where in the sequence its tokens stand, beside RoPE?
  bool couples_tokens() const {
    return residual > 0 || std::ranges::any_of(transforms(), [](const Transform* one) { return one->couples_tokens; });
  }
  /// Is anything done here at all?
  bool any() const {
    const auto is_there = [](const Transform* one) { return static_cast<bool>(one->function); };
    return residual > 0 || std::ranges::any_of(transforms(), is_there);
  }
  /// Applies RoPE, in place, and then `rotate`.
  at::Tensor with_rope(at::Tensor x_THd, const ops::RopeAngles& angles) const {
    ops::rope_(x_THd, angles);
    return rotate(x_THd);
  }
  /// A projected query, which is written to, as attention reads it.
  at::Tensor read_query(const at::Tensor& q_THd, const ops::RopeAngles& angles) const {
    return query(with_rope(q_THd, angles));
  }
  /// A projected key, which may be written to, as attention reads it from the cache.
  at::Tensor cached_key(const at::Tensor& k_TKd, const ops::RopeAngles& angles) const {
    return key(with_rope(key_before_rope(k_TKd), angles));
  }
};

struct DecoderLayer {
  std::string site;
  at::Tensor input_norm_D, post_attention_norm_D;
  Linear q_proj, k_proj, v_proj, o_proj;
  Linear gate_proj, up_proj, down_proj;
  HeadTransforms heads;

  /// Does nothing stand between the ops?
  bool is_plain() const;
};

/// The linear layers of a decoder layer, in the order of linear_sites().
inline constexpr Linear DecoderLayer::*kLayerLinears[] = {
    &DecoderLayer::q_proj,    &DecoderLayer::k_proj,  &DecoderLayer::v_proj,   &DecoderLayer::o_proj,
    &DecoderLayer::gate_proj, &DecoderLayer::up_proj, &DecoderLayer::down_proj};

inline bool DecoderLayer::is_plain() const {
  const auto transforms = [this](const auto linear) { return (this->*linear).transforms_input(); };
  return !heads.any() && std::ranges::none_of(kLayerLinears, transforms);
}

struct Llama {
  LlamaConfig config;
  at::Tensor embed_tokens_VD;
  std::vector<DecoderLayer> layers;
  at::Tensor norm_D;
  Linear lm_head;  ///< shares embed_tokens' storage when tied

  /// Calls visit(Linear&) for every linear layer, in the order of linear_sites().
  template <class Visit>
  void each_linear(Visit visit) {
    for (DecoderLayer& layer : layers) {
      for (const auto linear : kLayerLinears) visit(layer.*linear);
    }
    visit(lm_head);
  }
};

/// Attention within one sequence: RoPE on queries and keys, keys and values through the cache, causal attention.
/// Queries [T, H, d], keys and values [T, K, d] of a layer, as projected and before RoPE; may be written to.  Returns
/// [T, H, d].  angles: of the first T positions at least.
at::Tensor attend(const DecoderLayer& layer, const ops::RopeAngles& angles, const at::Tensor& q_THd,
                  const at::Tensor& k_TKd, const at::Tensor& v_TKd);

/// Which keys and values queries meet.  That differs between one sequence, several packed ones (model/packing.h) and
/// decoding (model/decode.h), which leave the rest of the model as it is.
struct Attention {
  using Function =
      std::function<at::Tensor(const DecoderLayer&, const at::Tensor&, const at::Tensor&, const at::Tensor&)>;
  Function attend;  ///< of a layer's queries, keys and values, as attend() above
  /// Takes the residual stream [T, D] through a whole layer, in place; false, and nothing is done, where it cannot.
  std::function<bool(const DecoderLayer&, at::Tensor&)> whole_layer = [](const auto&, auto&) { return false; };

  explicit Attention(Function function) : attend(std::move(function)) {}
  /// Of one sequence.  Implicit: what most forwards are.
  Attention(const ops::RopeAngles& angles);
};

/// The attention sublayer of normed hidden states [T, D].
at::Tensor self_attention(const DecoderLayer& layer, const LlamaConfig& config, const at::Tensor& x_TD,
                          const Attention& attention, Observer* observer = nullptr);

/// The MLP sublayer of normed hidden states [T, D].
at::Tensor mlp(const DecoderLayer& layer, const at::Tensor& x_TD, Observer* observer = nullptr);

/// A decoder layer on the residual stream [T, D], in place (where autograd follows it, x becomes a new tensor).
void decoder_layer(const DecoderLayer& layer, const LlamaConfig& config, at::Tensor& x_TD, const Attention& attention,
                   Observer* observer = nullptr);

/// Final hidden states [T, D], normed, of token ids [T].  Of one sequence at positions 0..T-1 `attention` is its
/// angles, of T positions at least.
at::Tensor forward(const Llama& model, const at::Tensor& tokens_T, const Attention& attention,
                   Observer* observer = nullptr);

/// Logits [R, V] of some rows of hidden states [R, D].  The caller keeps R small: [T, V] must never exist.
at::Tensor logits(const Llama& model, const at::Tensor& hidden_RD, Observer* observer = nullptr);

/// Floating point operations of one forward over T tokens, behind others whose keys and values are kept, with logits
/// everywhere: 2 per weight and token in linear layers, 4 per head channel and (query, key) pair in attention.
double forward_flops(const LlamaConfig& config, int64_t T, int64_t behind = 0);

/// Bytes of the keys and values of T tokens.
int64_t cache_bytes(const LlamaConfig& config, int64_t T, int64_t element_size);

/// Upper estimate of the bytes that a forward over T tokens needs beside the weights.
int64_t forward_bytes(const LlamaConfig& config, int64_t T, int64_t element_size);

}  // namespace qroar
