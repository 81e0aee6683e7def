// Several short sequences in one forward, so that weights meet many rows at once; sequences may continue another one,
// whose keys and values they then share.
#pragma once
#include <unordered_map>
#include <vector>

#include "model/llama.h"

namespace qroar {

/// Tokens of a pack: enough rows to keep matrix products busy, few enough that activations stay small.
inline constexpr int64_t kPackedTokens = 4096;

struct PackedSequence {
  int64_t length = 0;
  int64_t parent = -1;  ///< the earlier sequence that comes before this one's first token; it has no parent itself
};

/// Can the model's sequences be packed?  Not where the cache's rounding couples tokens, or queries see near keys
/// otherwise than far ones.
bool can_pack(const Llama& model);

/// Tokens that all sequences of some packs begin with: they go through the model once.
class SharedPrefix {
 public:
  /// `angles` cover the tokens and `room` more behind them.  The model has to be one that can_pack().
  SharedPrefix(const Llama& model, const at::Tensor& tokens_P, const ops::RopeAngles& angles, int64_t room);

  int64_t length() const { return length_; }

  const ops::Prefix& of(const DecoderLayer& layer) const { return kept_.at(&layer); }

 private:
  int64_t length_;
  std::unordered_map<const DecoderLayer*, ops::Prefix> kept_;
};

/// Of sequences that lie behind each other in tokens [T], each behind `prefix` where there is one; angles cover the
/// longest with all that is before it.
Attention packed(const std::vector<PackedSequence>& sequences, const ops::RopeAngles& angles,
                 const SharedPrefix* prefix = nullptr);

}  // namespace qroar
