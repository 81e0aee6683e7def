// Rounding draws: a quantizer's rounding errors depend on how a model's weights are written down, which its function
// leaves open.  Draw 0 is the checkpoint as it is; draw K writes the same function down in another way before anything
// is quantized, so that every format draws new errors of the same size (docs/method.md 5.6).
#pragma once
#include "config/config.h"
#include "model/llama.h"

namespace qroar {

/// The YAML block `rounding`: {draw: K}.
struct Rounding {
  uint64_t draw = 0;

  Rounding() = default;
  explicit Rounding(const Config& config);
};

/// Rewrites a view of a model, which still computes the same logits up to the rounding of its dtype.  Draw K seeds
///   residual stream  a permutation, signs, and rotations by kAngle in disjoint pairs of channels whose norm weights
///                    are alike in every layer: without that, the small weights of one would be rounded on the scale of
///                    the other.  Norm weights follow, so that columns keep their size.  Unties lm_head.
///   MLP              a permutation of its channels, signs on up_proj and down_proj
///   values           a permutation, signs and rotations in pairs within each key/value head, undone by o_proj
///   queries, keys    rotations by kAngle in the plane of each RoPE pair, which RoPE commutes with
///   heads            a permutation of key/value heads (DecoderLayer::key_heads), and of query heads within their group
/// Weights are computed in float64 and cast once.
void redraw(const Rounding& rounding, Llama& model);

}  // namespace qroar
