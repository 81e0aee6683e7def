// The decoder of Llama (Touvron et al. arXiv 2307.09288; grouped-query attention of Ainslie et al. arXiv 2305.13245)
// and of the families of model/families, as plain structs of tensors.  It is independent of RoPE schemes, bit widths
// and metrics, which reach it as angles and weights.
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

/// A transform of activations that keeps shape and dtype, such as fake quantization or a rotation.  Autograd follows a
/// differentiable transform and treats any other as the identity, the straight-through estimator (Bengio et al. arXiv
/// 1308.3432), since rounding has the derivative 0 almost everywhere.
struct Transform {
  std::function<at::Tensor(const at::Tensor&)> function;  ///< empty: the identity
  bool couples_tokens = false;                            ///< one token's result depends on others in a cache
  bool differentiable = false;                            ///< autograd can follow the function

  at::Tensor operator()(const at::Tensor& x) const {
    if (!function) return x;
    if (differentiable || !ops::is_differentiated(x)) return function(x);
    return function(x.detach()) + (x - x.detach());
  }

  /// Returns this transform followed by `next`.
  Transform then(const Transform& next) const {
    return {[first = *this, next](const at::Tensor& x) { return next(first(x)); },
            couples_tokens || next.couples_tokens, /*differentiable=*/true};
  }
};

struct Linear : ops::Weights {
  std::string site;
  Transform input;                   ///< applied to the input, [T, inputs], before the product
  std::function<at::Tensor()> make;  ///< makes weight_OI of a streamed layer, where it is undefined

  at::Tensor weight() const { return weight_OI.defined() ? weight_OI : make(); }
  /// Replaces the weight by f(weight): now, or each time that it is made.
  template <class Function>
  void change(Function f) {
    if (weight_OI.defined()) {
      weight_OI = f(weight_OI);
    } else {
      make = [before = make, f] { return f(before()); };
    }
  }
  bool transforms_input() const { return static_cast<bool>(input.function); }
};

/// The transforms between the projections and the attention, applied to [T, heads, d].
struct HeadTransforms {
  Transform rotate;           ///< queries and keys after RoPE
  Transform query;            ///< after `rotate`
  Transform key_before_rope;  ///< the rounding of a cache that stores keys before RoPE
  Transform key;              ///< the rounding of a cache that stores keys after RoPE and `rotate`
  Transform value;            ///< the rounding of values in the cache
  bool rope = true;           ///< false: with_rope() does not rotate
  int64_t residual = 0;       ///< a query sees itself and the residual-1 tokens before it exactly, not as cached

  std::array<const Transform*, 5> transforms() const { return {&rotate, &query, &key_before_rope, &key, &value}; }

  /// Returns whether, apart from RoPE, what a query reads depends on the positions of the tokens in the sequence.
  bool couples_tokens() const {
    return residual > 0 || std::ranges::any_of(transforms(), [](const Transform* one) { return one->couples_tokens; });
  }
  /// Returns whether there is any transform.
  bool any() const {
    const auto is_there = [](const Transform* one) { return static_cast<bool>(one->function); };
    return residual > 0 || std::ranges::any_of(transforms(), is_there);
  }
  /// Applies RoPE in place and then `rotate`.
  at::Tensor with_rope(at::Tensor x_THd, const ops::RopeAngles& angles) const {
    if (rope) ops::rope_(x_THd, angles);
    return rotate(x_THd);
  }
  /// Returns a projected query as attention reads it; overwrites q_THd.
  at::Tensor read_query(const at::Tensor& q_THd, const ops::RopeAngles& angles) const {
    return query(with_rope(q_THd, angles));
  }
  /// Returns a projected key as attention reads it from the cache; may overwrite k_TKd.
  at::Tensor cached_key(const at::Tensor& k_TKd, const ops::RopeAngles& angles) const {
    return key(with_rope(key_before_rope(k_TKd), angles));
  }
};

struct DecoderLayer {
  std::string site;
  at::Tensor input_norm_D, post_attention_norm_D;
  at::Tensor q_norm_d, k_norm_d;  ///< of each head before RoPE; undefined where there is none
  ops::AttentionOptions attention;
  Linear q_proj, k_proj, v_proj, o_proj;
  Linear gate_proj, up_proj, down_proj;
  HeadTransforms heads;
  std::vector<int64_t> key_heads;    ///< the checkpoint's numbers of the key heads; empty: their order is its own
  std::function<void()> read_ahead;  ///< of a streamed layer: begins to read what its weights are made from

  /// Returns whether the weights are there; those of a streamed layer are made when it is used.
  bool is_resident() const { return q_proj.weight_OI.defined(); }
  /// Returns the layer with its weights.
  DecoderLayer loaded() const;

  /// Returns whether the layer has no transforms.
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

inline DecoderLayer DecoderLayer::loaded() const {
  DecoderLayer layer = *this;
  for (const auto member : kLayerLinears) {
    (layer.*member).weight_OI = (layer.*member).weight();
  }
  return layer;
}

struct Llama {
  LlamaConfig config;
  at::Tensor embed_tokens_VD;
  std::vector<DecoderLayer> layers;
  at::Tensor norm_D;
  Linear lm_head;  ///< shares embed_tokens' storage when tied

  /// Returns whether the layers' weights are made when a layer is used; embeddings, norms and head are always there.
  bool is_streamed() const { return !layers.empty() && !layers.front().is_resident(); }

  /// Calls visit(Linear&) for every linear layer, in the order of linear_sites().
  template <class Visit>
  void each_linear(Visit visit) {
    for (DecoderLayer& layer : layers) {
      for (const auto linear : kLayerLinears) visit(layer.*linear);
    }
    visit(lm_head);
  }
};

/// Computes attention within one sequence: RoPE on queries and keys, keys and values through the cache, causal
/// attention.  Takes queries [T, H, d], keys and values [T, K, d] of a layer, as projected and before RoPE; may
/// overwrite them.  `angles` covers at least the first T positions.  Returns [T, H, d].
at::Tensor attend(const DecoderLayer& layer, const ops::RopeAngles& angles, const at::Tensor& q_THd,
                  const at::Tensor& k_TKd, const at::Tensor& v_TKd);

/// Determines which keys and values the queries attend to.  This differs between one sequence, several packed sequences
/// (model/packing.h) and decoding (model/decode.h), which share the rest of the model.
struct Attention {
  using Function =
      std::function<at::Tensor(const DecoderLayer&, const at::Tensor&, const at::Tensor&, const at::Tensor&)>;
  Function attend;  ///< for a layer's queries, keys and values, like attend() above
  /// Takes the residual stream [T, D] through a complete layer in place; returns false without effect where it cannot.
  std::function<bool(const DecoderLayer&, at::Tensor&)> whole_layer = [](const auto&, auto&) { return false; };

  explicit Attention(Function function) : attend(std::move(function)) {}
  /// Attention within one sequence.  Implicit, as it is the usual case.
  Attention(const ops::RopeAngles& angles);
};

/// Returns the residual stream [T, D] that token ids [T] begin with.
at::Tensor embed(const Llama& model, const at::Tensor& tokens_T);

/// Returns a linear layer's output for x [T, inputs].
at::Tensor apply(const Linear& linear, const at::Tensor& x_TI, Observer* observer = nullptr);

/// Returns what the attention heads mix, the input [T, H d] of o_proj, for normed hidden states [T, D].
at::Tensor mixed_heads(const DecoderLayer& layer, const LlamaConfig& config, const at::Tensor& x_TD,
                       const Attention& attention, Observer* observer = nullptr);

/// Returns the input [T, F] of down_proj for normed hidden states [T, D].
at::Tensor gated(const DecoderLayer& layer, const at::Tensor& x_TD, Observer* observer = nullptr);

/// Adds a sublayer's output [T, D] times config.residual_multiplier to the residual stream, in place (where autograd
/// follows it, x becomes a new tensor).
void add_sublayer(at::Tensor& x_TD, const at::Tensor& y_TD, const LlamaConfig& config);

/// Returns the attention sublayer's output for normed hidden states [T, D].
at::Tensor self_attention(const DecoderLayer& layer, const LlamaConfig& config, const at::Tensor& x_TD,
                          const Attention& attention, Observer* observer = nullptr);

/// Returns the MLP sublayer's output for normed hidden states [T, D].
at::Tensor mlp(const DecoderLayer& layer, const at::Tensor& x_TD, Observer* observer = nullptr);

/// Applies a decoder layer to the residual stream [T, D], as add_sublayer() does.
void decoder_layer(const DecoderLayer& layer, const LlamaConfig& config, at::Tensor& x_TD, const Attention& attention,
                   Observer* observer = nullptr);

/// Token ids [T] and how they attend to each other.
struct Pass {
  at::Tensor tokens_T;
  Attention attention;
};

/// Returns the final normed hidden states [T, D] of passes, which go through each layer together: a streamed layer is
/// made once for all of them.  Calls `after_layer` after each layer.
std::vector<at::Tensor> forward(
    const Llama& model, const std::vector<Pass>& passes, Observer* observer = nullptr,
    const std::function<void()>& after_layer = [] {});

/// Returns the final normed hidden states [T, D] of token ids [T].  For one sequence at positions 0..T-1, `attention`
/// is its angles, for at least T positions.
at::Tensor forward(const Llama& model, const at::Tensor& tokens_T, const Attention& attention,
                   Observer* observer = nullptr);

/// Returns logits [R, V] of some rows of hidden states [R, D].  The caller keeps R small: [T, V] must never exist.
at::Tensor logits(const Llama& model, const at::Tensor& hidden_RD, Observer* observer = nullptr);

/// Returns the floating-point operations of one forward pass over T tokens, after `behind` tokens whose keys and values
/// are cached, with logits for all T: 2 per weight and token in linear layers, 4 per head channel and (query, key) pair
/// in attention.
double forward_flops(const LlamaConfig& config, int64_t T, int64_t behind = 0);

/// Returns the bytes of the keys and values of T tokens.
int64_t cache_bytes(const LlamaConfig& config, int64_t T, int64_t element_size);

/// Returns an upper estimate of the bytes that a forward pass over T tokens needs in addition to the weights.
int64_t forward_bytes(const LlamaConfig& config, int64_t T, int64_t element_size);

}  // namespace qroar
