// Orthonormal rotations of hidden states that spread outliers over channels before anything is quantized: QuaRot
// (Ashkboos et al. arXiv 2404.00456, sections 3 and 4) in its training-free form.  Learned rotations (SpinQuant) are
// not here.
#pragma once
#include "config/config.h"
#include "model/llama.h"

namespace qroar {

/// The YAML block `rotation`: {type: none} or {type: hadamard, seed: 0, online: [o_proj, down_proj, qk]}.
struct Rotation {
  bool hadamard = false;
  uint64_t seed = 0;  ///< of the signs of the residual stream's rotation
  bool o_proj = false, down_proj = false, qk = false;

  Rotation() = default;
  /// An Error names an unknown entry of `online`, and a size of the model that no Hadamard matrix is known for.
  Rotation(const Config& config, const LlamaConfig& llama);
};

/// Rotates a view of a model; up to rounding it computes the same logits.
///   residual stream  x' = R x, R = H diag(signs): embeddings and what o_proj and down_proj write (biases too) times R,
///                    what q, k, v, gate, up and lm_head read times R^T; norms become ones, their weights folded into
///                    the layers that read them, since R and diag(norm) do not commute.  Unties lm_head.
///   o_proj           H x before the layer and H^T folded into its weight, H over all heads' channels at once: for all
///   down_proj        sizes, where QuaRot's fold into v_proj asks for a Hadamard matrix of as many heads
///   qk               H of each query and key head after RoPE; their inner products stay
/// Weights are folded in float64 and cast once: rotating in bfloat16 loses the model (QuaRot, issue 8).  Embeddings
/// keep their mean: only LayerNorm is blind to it, RMSNorm is not (issues 7 and 57).
void rotate(const Rotation& rotation, Llama& model);

}  // namespace qroar
