// Decoding with a key/value cache: tokens are appended, and only they go through the model.
#pragma once
#include <functional>
#include <vector>

#include "model/angles.h"
#include "model/llama.h"

namespace qroar {

/// With a scheme of one table every append() equals a forward over the whole sequence up to rounding.  Where
/// frequencies depend on the length (dynamic NTK, LongRoPE's thresholds), keys are also kept as they were before RoPE,
/// and RoPE is applied to all of them again when the table changes, which a cache of rotated keys gets wrong
/// (docs/method.md 7.5); what earlier tokens left in deeper layers is still of the tables of their time, as in
/// every decoder with a cache.  Where the cache's rounding couples tokens, or near keys are exact, it is rounded again
/// at every append.
class Decoder {
 public:
  /// `capacity`: tokens at most.  `bfloat16_rope`: see rope_angles().
  Decoder(const Llama& model, TableOf table_of, int64_t capacity, bool bfloat16_rope);

  /// Final hidden states [T, D], normed, of T more tokens.
  at::Tensor append(const at::Tensor& tokens_T);
  int64_t length() const { return length_; }

  /// The most likely tokens, one after the other, until `stop` says so of one (which is kept) or `count` are there;
  /// what follows `hidden_D`, the state of the last token.
  std::vector<int64_t> greedy(at::Tensor hidden_D, int64_t count, const std::function<bool(int64_t)>& stop);

 private:
  struct Cache {
    at::Tensor raw_key_NKd, raw_value_NKd;  ///< as projected; undefined where nothing is made of them again
    at::Tensor key_NKd, value_NKd;          ///< as attention reads them; undefined where that is made again every time
  };
  at::Tensor attend_cached(const DecoderLayer& layer, const ops::RopeAngles& new_angles, const at::Tensor& q_THd,
                           const at::Tensor& k_TKd, const at::Tensor& v_TKd);
  /// Takes one token's residual stream [1, D] through a layer that is_plain(), see ops/decode; else false.
  bool decode_layer(const DecoderLayer& layer, at::Tensor& x_1D);
  /// Takes the table for a sequence of `length` tokens.
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
