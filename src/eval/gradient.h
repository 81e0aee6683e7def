// The gradient of the mean NLL with respect to the scales of query and key channels and to the frequencies of RoPE, for
// all pairs of all layers at once: a search over scales follows it, and the diagnostic `sensitivity` shows it.  It is
// evaluated only at scale 1 and at the frequencies of the angles.
#pragma once
#include "model/llama.h"

namespace qroar {

/// The NLL of scored tokens and its derivatives with respect to the logarithms of the scales of each layer's query and
/// key channels (pair i scales channels i and i + d/2 of a head), at scale 1, and with respect to the frequency of each
/// layer's pairs.
struct ScaleGradient {
  double nll;                     ///< mean over the scored tokens, nats
  at::Tensor query_LKP, key_LKP;  ///< float64 on the CPU, [layers, heads, d/2]
  at::Tensor frequency_LP;        ///< likewise, [layers, d/2]: d NLL / d omega_i, nats per (radian / token), at a fixed
                                  ///< attention factor
};

/// Computes the gradient for the last `scored` tokens of tokens_T [T], 0 < scored < T, at positions 0..T-1, which
/// `angles` cover.  `heads`: 1 for the sum over all heads of a layer, or num_key_value_heads, where a key's head counts
/// with the queries that read it and has the number that the checkpoint gives it (DecoderLayer::key_heads).  For a
/// model whose weights already contain scales, scale 1 means these scales.
///
/// With q the output of q_proj before RoPE, q' = g q gives dNLL / d ln g_i = sum of dNLL/dq * q over tokens, heads and
/// the pair's two channels; likewise for keys, and both through all transforms of the cache.  A frequency turns the
/// angle of position m by m radians per unit: autograd follows cos - m sin delta and sin + m cos delta at delta = 0,
/// which are the angles to the bit.  Weights are constants;
/// fake-quantized activations use the straight-through estimator (Transform).
///
/// Uses gradient checkpointing by layers (Chen et al. arXiv 1604.06174): the forward keeps each layer's input [T, D],
/// and the backward pass runs one layer after the other again, so memory is linear in T: the inputs, and what autograd
/// saves for one layer.  The exception is a cache with a residual, whose attention saves its weights, [H, T, T].  The
/// gradient is not finite where the NLL is not.
ScaleGradient scale_gradient(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                             int64_t scored, int64_t heads = 1);

/// Returns an estimate of the bytes that scale_gradient() takes for T tokens beside the weights and a forward: every
/// layer's input and what autograd saves for one layer.
int64_t gradient_bytes(const LlamaConfig& config, int64_t T, int64_t element_size);

}  // namespace qroar
