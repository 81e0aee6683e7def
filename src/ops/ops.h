// The numeric operations of the model that ATen does not give in one call, with the numeric contract of each.
// Every op has a slow twin that defines it, and tests compare them: a function of ops::reference in plain ATen, and for
// ops that join others those others: linear() of each weight for linears(), causal_attention() of each sequence behind
// its parent and prefix for keep_prefix() with attention_in_packs(), and the ops in the order of decoder_layer()
// (model/llama.h) for decode_layer_().  dispatch.cpp chooses a fast one where there is one.
//
// Shapes: T tokens, D features, H query heads, K key/value heads (H % K == 0), d head_dim, P = d/2 pairs, V
// vocabulary. "Float32" below reads float64 when the tensors are float64.  A NaN that goes in comes out; bits never
// depend on threads.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace qroar::ops {

/// Whether autograd has to follow what is computed from these.  Every op then takes its twin in plain ATen, which
/// autograd can follow.
inline bool is_differentiated(at::TensorList tensors) {
  return c10::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& x) { return x.requires_grad(); });
}

/// The dtype that sums and scales are taken in: float64 for float64 tensors, else float32.
inline at::ScalarType wide_dtype(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// cos and sin of every position, already multiplied by the attention factor.
struct RopeAngles {
  at::Tensor cos_TP, sin_TP;  ///< [T, d/2], float32 (float64 for a float64 model)

  RopeAngles slice(int64_t begin, int64_t end) const {
    return {cos_TP.slice(0, begin, end), sin_TP.slice(0, begin, end)};
  }
};

/// The weight and bias of one linear layer.
struct Weights {
  at::Tensor weight_OI;  ///< [outputs, inputs]
  at::Tensor bias_O;     ///< undefined where there is none
};

/// x / sqrt(mean(x^2) + eps) in float32, cast to x's dtype, then times weight in that dtype (Hugging Face's order).
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);

/// Rotates channels (i, i + d/2) of every head by the angle of pair i, in place: float32 products and sums, one cast.
/// Where autograd follows x, x becomes a new tensor and what it was stays: its gradient may be asked for.
void rope_(at::Tensor& x_THd, const RopeAngles& angles);

/// x weight^T, and bias where it is defined.  Sums in float32, cast once to the dtype (ATen's kernels add a bias before
/// or after the cast).
at::Tensor linear(const at::Tensor& x_TI, const at::Tensor& weight_OI, const at::Tensor& bias_O);

/// linear() of each of the weights; those of one row are read in one parallel loop.
std::vector<at::Tensor> linears(const at::Tensor& x_TI, const std::vector<Weights>& weights);

/// softmax(q k^T / sqrt(d) + causal mask) v per head; query head h reads key/value head h / (H / K).  Scores and
/// softmax in float32, output cast once to q's dtype.  Memory linear in N.  Queries are those of the last T of the N
/// tokens: query t sees keys 0..t + N - T.
at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);

/// One of several sequences that lie behind each other in the rows of a tensor.
struct SequenceRows {
  int64_t begin, end;
  int64_t parent = -1;  ///< the earlier sequence that comes before this one's first token and has no parent; -1: none
};

/// Keys and values that come before all sequences of some packs, as attention reads them.
struct Prefix {
  int64_t length = 0;
  at::Tensor key_CKd,
      value_CKd;      ///< with room behind them, which is free to write to; undefined where `packed` is there
  at::Tensor packed;  ///< in a kernel's own order
};

/// Keeps keys and values for attention_in_packs() of queries such as these.  `room`: for the longest sequence, its
/// parent counted in.
Prefix keep_prefix(const at::Tensor& q_PHd, const at::Tensor& k_PKd, const at::Tensor& v_PKd, int64_t room);

/// causal_attention of each sequence: a query sees `prefix` where there is one, the sequence's parent, and its own
/// sequence up to itself.
at::Tensor attention_in_packs(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd,
                              const std::vector<SequenceRows>& sequences, const Prefix* prefix);

/// causal_attention through a quantized cache: a query of token t sees the tokens in (t - residual, t] as exact_k and
/// exact_v and those before as cached_k and cached_v.  Scores, softmax and sums in float32, output cast once; no faster
/// twin.
at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual);

/// silu(gate) * up: silu in float32 cast to the dtype, the product in the dtype.
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);

/// -log softmax(logits)[target] per row: exponentials in float32 from the logits' dtype, their sum and all that follows
/// in float64; returned as float64 [T].  Rows do not depend on each other: logits may come in blocks of any size.
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);

/// The weights of a decoder layer, and its cache with room for C tokens, keys after RoPE.
struct CachedLayer {
  const at::Tensor &input_norm_D, &post_attention_norm_D;
  const Weights &q_proj, &k_proj, &v_proj, &o_proj, &gate_proj, &up_proj, &down_proj;
  double rms_norm_eps;
  const at::Tensor &key_CKd, &value_CKd;

  std::array<const Weights*, 7> linears() const {
    return {&q_proj, &k_proj, &v_proj, &o_proj, &gate_proj, &up_proj, &down_proj};
  }
};

/// Takes one token, which stands at `position` of C, through a whole decoder layer: in place on its residual stream x
/// and in the cache.  False, and nothing is done, where there is no such kernel; its bits are those of the ops above
/// in the order of decoder_layer() (model/llama.h).
bool decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position);

namespace reference {
at::Tensor linear(const at::Tensor& x_TI, const at::Tensor& weight_OI, const at::Tensor& bias_O);
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);
void rope_(at::Tensor& x_THd, const RopeAngles& angles);
at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd);
at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual);
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);
}  // namespace reference

}  // namespace qroar::ops
