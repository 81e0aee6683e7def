// The YAML block `kv`: fake quantization of what the attention reads from its key/value cache, as decoding token by
// token would read it.  Sources: QuaRot (arXiv 2404.00456: per head of a token, keys after RoPE), KIVI (arXiv
// 2402.02750: keys per channel over groups of tokens, values per token, recent tokens exact); docs/method.md 7.4.
// No rotation, and no exact prefill: KIVI's prompt tokens read each other unquantized, here they do not.
#pragma once
#include "model/llama.h"
#include "quant/quantizer.h"

namespace qroar {

/// {type: none}, or {type: fake_quant, key: {type: ...}, value: {type: ...}, key_axis: head, value_axis: head,
/// key_rope: after, residual: 0, query: {type: ...}} with registered quantizers under which no query sees a later
/// token; `none` leaves a part exact. An axis says what a row of the quantizer's matrix is, with K key/value heads of d
/// channels:
///   head     one head of one token, [d]
///   token    all heads of one token, [K*d]
///   channel  one channel of one head over `group` neighbouring tokens, from token 0 on; an incomplete last group
///            stays exact
/// key_rope: keys are quantized `before` RoPE and then rotated, or `after` it.  query: queries after RoPE, a row is a
/// head of a token (QuaRot and KIVI keep them exact).  residual: each query sees itself and the residual-1 tokens
/// before it exactly.  That window slides for keys and values alike.  KIVI's does so for values; its exact tail of
/// keys grows to `residual` and is then quantized at once, which keeps about half as many keys exact.  Transformers'
/// QuantizedCache is neither: it groups within a token for both and quantizes its whole tail at once.
class KvCache {
 public:
  KvCache() = default;
  /// Reads the block and checks it against the model's heads; an Error names the part and the sizes that would do.
  KvCache(const Config& config, const LlamaConfig& llama);

  /// Sets the transforms of one layer's heads that the block speaks of.
  void attach(HeadTransforms& heads) const;

 private:
  enum class Axis { head, token, channel };
  struct Part {
    std::shared_ptr<const Quantizer> quantizer;  ///< null: exact
    Axis axis = Axis::head;
    int64_t group = 0;  ///< tokens of a channel's group

    /// x_TKd [T, K, d] quantized; empty where nothing is done.
    Transform transform() const;
  };
  static Part read_part(const Config& config, const char* name, Axis axis, int64_t heads, int64_t head_dim);

  Part key_, value_, query_;
  bool key_before_rope_ = false;
  int64_t residual_ = 0;
};

}  // namespace qroar
