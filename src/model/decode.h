// Decoding with a key/value cache: only appended tokens go through the model.
#pragma once
#include <functional>
#include <vector>

#include "model/angles.h"
#include "model/llama.h"

namespace qroar {

/// Decodes with a key/value cache.  For a scheme with one table every append() equals a forward pass over the complete
/// sequence up to rounding.  Where frequencies depend on the length (dynamic NTK, LongRoPE's threshold), the keys
/// before RoPE are kept as well, and RoPE is applied to all of them again when the table changes, which a cache of
/// rotated keys gets wrong (docs/method.md 7.5); the keys and values of earlier tokens in deeper layers still result
/// from earlier tables, as in every decoder with a cache.  Where the cache's rounding couples tokens, or near keys are
/// exact, the cache is rounded again at every append.
class Decoder {
 public:
  /// `capacity` is the maximum number of tokens.  `bfloat16_rope`: see rope_angles().
  Decoder(const Llama& model, TableOf table_of, int64_t capacity, bool bfloat16_rope);

  /// Appends T tokens and returns their final normed hidden states [T, D].
  at::Tensor append(const at::Tensor& tokens_T);
  int64_t length() const { return length_; }

  /// Returns the tokens of greedy decoding that follow `hidden_D`, the hidden state of the last token: up to `count`
  /// tokens, or up to and including the first for which `stop`, which gets each of them, returns true.
  std::vector<int64_t> greedy(at::Tensor hidden_D, int64_t count, const std::function<bool(int64_t)>& stop);

 private:
  struct Cache {
    at::Tensor raw_key_NKd, raw_value_NKd;  ///< as projected; undefined where they are not needed again
    at::Tensor key_NKd, value_NKd;          ///< as attention reads them; undefined where recomputed every time
  };
  at::Tensor attend_cached(const DecoderLayer& layer, const ops::RopeAngles& new_angles, const at::Tensor& q_THd,
                           const at::Tensor& k_TKd, const at::Tensor& v_TKd);
  /// Takes one token's residual stream [1, D] through a layer that is_plain(), see ops/decode; else returns false.
  bool decode_layer(const DecoderLayer& layer, at::Tensor& x_1D);
  /// Switches to the table for a sequence of `length` tokens.
  void take_table(int64_t length);

  const Llama& model_;
  TableOf table_of_;
  int64_t capacity_;
  bool bfloat16_rope_;
  int64_t length_ = 0;  ///< tokens before those that are being appended
  bool table_changed_ = false;
  RopeTable table_;
  ops::RopeAngles angles_;  ///< of all positions up to the capacity
  std::vector<Cache> caches_;
};

}  // namespace qroar
