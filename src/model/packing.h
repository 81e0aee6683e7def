// Several short sequences in one forward, so that weights meet many rows at once; sequences may continue another one,
// whose keys and values they then share.
#pragma once
#include <vector>

#include "model/llama.h"

namespace qroar {

/// Tokens of a pack: enough rows to keep matrix products busy, few enough that activations stay small.
inline constexpr int64_t kPackedTokens = 4096;

struct PackedSequence {
  int64_t length = 0;
  int64_t parent = -1;  ///< the earlier sequence that comes before this one's first token; it has no parent itself
};

/// Can the model's sequences be packed?  Not where an activation's rounding couples tokens, or queries see near keys
/// otherwise than far ones.
bool can_pack(const Llama& model);

/// Of sequences that lie behind each other in tokens [T]; angles cover the longest with its parent.
Mixing packed(const std::vector<PackedSequence>& sequences, const ops::RopeAngles& angles);

}  // namespace qroar
