// Orthonormal rotations of hidden states that spread outliers over channels before anything is quantized: QuaRot
// (Ashkboos et al. arXiv 2404.00456, sections 3 and 4) in its training-free form.  Learned rotations (SpinQuant) are
// left out.
#pragma once
#include "config/config.h"
#include "model/llama.h"

namespace qroar {

/// The YAML block `rotation`: {type: none} or {type: hadamard, seed: 0, online: [o_proj, down_proj, qk]}.
struct Rotation {
  bool hadamard = false;
  uint64_t seed = 0;  ///< seed of the signs of the residual stream's rotation
  bool o_proj = false, down_proj = false, qk = false;

  Rotation() = default;
  /// Throws an Error for an unknown entry of `online`, and for a size of the model for which no Hadamard matrix is
  /// known.
  Rotation(const Config& config, const LlamaConfig& llama);
};

/// Rotates a view of a model, which still computes the same logits up to rounding.
///   residual stream  x' = R x, R = H diag(signs): the embeddings and the outputs of o_proj and down_proj (biases too)
///   are
///                    multiplied by R, the inputs of q, k, v, gate, up and lm_head by R^T.  Norm weights become ones
///                    and are folded into the layers that read them, since R and diag(norm) do not commute.  Unties
///                    lm_head.
///   o_proj           H x before the layer and H^T folded into its weight, with H over all heads' channels at once:
///   this down_proj        works for all sizes, while QuaRot's fold into v_proj needs a Hadamard matrix of the number
///   of heads qk               H of each query and key head after RoPE, which keeps their inner products
/// Weights are folded in float64 and cast once: rotating in bfloat16 destroys the model's accuracy (QuaRot, issue 8).
/// Embeddings keep their mean: LayerNorm is invariant to it, but RMSNorm is not (issues 7 and 57).
void rotate(const Rotation& rotation, Llama& model);

}  // namespace qroar
