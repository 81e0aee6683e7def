// The YAML block `kv`: fake quantization of what the attention reads from its key/value cache, as decoding token by
// token would read it.  Sources: QuaRot (arXiv 2404.00456: per head of a token, keys after RoPE), KIVI (arXiv
// 2402.02750: keys per channel over groups of tokens, values per token, recent tokens exact); docs/method.md 7.4.
// Without: rotation, and exact prefill (in KIVI prompt tokens read each other unquantized; here they do not).
#pragma once
#include "model/llama.h"
#include "quant/quantizer.h"

namespace qroar {

/// {type: none}, or {type: fake_quant, key: {type: ...}, value: {type: ...}, key_axis: head, value_axis: head,
/// key_rope: after, residual: 0, query: {type: ...}} with registered quantizers under which no query sees a later
/// token; `none` leaves a part exact. An axis defines a row of the quantizer's matrix, with K key/value heads of d
/// channels:
///   head     one head of one token, [d]
///   token    all heads of one token, [K*d]
///   channel  one channel of one head over `group` consecutive tokens, starting at token 0; an incomplete last group
///            stays exact
/// key_rope: keys are quantized `before` RoPE and then rotated, or `after` it.  query: queries after RoPE, a row is a
/// head of a token (QuaRot and KIVI keep them exact).  residual: each query sees itself and the residual-1 tokens
/// before it exactly.  This window slides for keys and values alike.  KIVI's window slides only for values; its exact
/// tail of keys grows to `residual` and is then quantized at once, which keeps about half as many keys exact.
/// Transformers' QuantizedCache does neither: it groups within a token for both and quantizes its whole tail at once.
class KvCache {
 public:
  KvCache() = default;
  /// Reads the block and checks it against the model's heads.  `rotated`: a rotation mixes the channels of queries and
  /// keys after RoPE.  Throws an Error with the invalid part and the sizes that are valid.
  KvCache(const Config& config, const LlamaConfig& llama, bool rotated);

  /// Returns the stored bits of a number in the cache, the mean of keys and values, 16 where they are exact; the exact
  /// recent tokens of `residual` are not counted.
  double bits_per_value() const;

  int64_t residual() const { return residual_; }  ///< see HeadTransforms

  /// Sets the head transforms of one layer that the block configures.
  void attach(HeadTransforms& heads) const;

  /// Where the block rounds queries and keys, as in HeadTransforms.
  enum class Place { query, key_before_rope, key };
  /// Returns the parts of queries or keys [T, heads, d] that share a scale in a place, as rows [N, S], a tensor for
  /// each size S; incomplete groups of tokens are left out.  Where a place is exact a part is one head of one token.
  std::vector<at::Tensor> groups(Place place, const at::Tensor& x_THd) const;

 private:
  enum class Axis { head, token, channel };
  struct Part {
    std::shared_ptr<const Quantizer> quantizer;  ///< null: exact
    Axis axis = Axis::head;
    int64_t group = 0;  ///< tokens per group of a channel
    double bits = 16;   ///< stored bits of a number

    /// Returns a transform that quantizes x_TKd [T, K, d], or an empty one when there is nothing to do.
    Transform transform() const;
    /// Returns x_TKd [T, K, d] as the quantizer's matrix, or the tokens of whole groups of it.
    at::Tensor matrix(const at::Tensor& x_TKd) const;
  };
  static Part read_part(const Config& config, LinearSite site, Axis axis);

  Part key_, value_, query_;
  bool key_before_rope_ = false;
  int64_t residual_ = 0;
};

}  // namespace qroar
