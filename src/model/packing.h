// Packs several short sequences into one forward pass, so that each weight is used for many rows at once; sequences may
// continue another one, whose keys and values they then share.
#pragma once
#include <unordered_map>
#include <vector>

#include "model/llama.h"

namespace qroar {

/// Tokens per pack: enough rows for efficient matrix products, few enough that activations stay small.
inline constexpr int64_t kPackedTokens = 4096;

struct PackedSequence {
  int64_t length = 0;
  int64_t parent = -1;  ///< the earlier sequence that this one continues, which has no parent itself
};

/// Returns whether the model's sequences can be packed: not where the cache's rounding couples tokens, or queries see
/// near keys differently from distant ones.
bool can_pack(const Llama& model);

/// Tokens that all sequences of some packs begin with and that go through the model only once.
class SharedPrefix {
 public:
  /// `angles` covers the tokens and `room` more after them.  Requires can_pack(model).
  SharedPrefix(const Llama& model, const at::Tensor& tokens_P, const ops::RopeAngles& angles, int64_t room);

  int64_t length() const { return length_; }

  const ops::Prefix& of(const DecoderLayer& layer) const { return kept_.at(&layer); }

 private:
  int64_t length_;
  std::unordered_map<const DecoderLayer*, ops::Prefix> kept_;
};

/// Returns the attention of sequences that are concatenated in tokens [T], each after `prefix` if there is one;
/// `angles` covers the longest sequence with everything before it.
Attention packed(const std::vector<PackedSequence>& sequences, const ops::RopeAngles& angles,
                 const SharedPrefix* prefix = nullptr);

}  // namespace qroar
