// The numeric operations of the model that ATen does not offer in one call, with the numeric contract of each.  Every
// op has a slow definition, and tests compare the two.  It is a function of ops::reference in plain ATen, or for ops
// that combine others those ops: linear() of each weight for linears(), causal_attention() of each sequence after its
// parent and prefix for keep_prefix() with attention_in_packs(), and the ops in the order of decoder_layer()
// (model/llama.h) for decode_layer_().  dispatch.cpp chooses a fast implementation where there is one.
//
// Shapes: T tokens, D features, H query heads, K key/value heads (H % K == 0), d head_dim, P pairs of channels that
// RoPE rotates (d/2, or fewer), V vocabulary.  "Float32" below means float64 when the tensors are float64.  NaNs
// propagate; the bits never depend on threads.
#pragma once
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "ops/attention_options.h"

namespace qroar::ops {

/// Returns whether autograd has to follow what is computed from these.  Every op then uses an implementation in ATen,
/// which autograd can follow.
inline bool is_differentiated(at::TensorList tensors) {
  return c10::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& x) { return x.requires_grad(); });
}

/// Returns the dtype of sums and scales: float64 for float64 tensors, else float32.
inline at::ScalarType wide_dtype(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// cos and sin of every position, already multiplied by the attention factor.
struct RopeAngles {
  at::Tensor cos_TP, sin_TP;  ///< [T, P], float32 (float64 for a float64 model)

  RopeAngles slice(int64_t begin, int64_t end) const {
    return {cos_TP.slice(0, begin, end), sin_TP.slice(0, begin, end)};
  }
};

/// The weight and bias of one linear layer.
struct Weights {
  at::Tensor weight_OI;  ///< [outputs, inputs]
  at::Tensor bias_O;     ///< undefined where there is none
};

/// Returns x / sqrt(mean(x^2) + eps) in float32, cast to x's dtype, then times weight in that dtype (Hugging Face's
/// order).
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);

/// Rotates channels (i, i + P) of every head by the angle of pair i, in place, and leaves those from 2P on as they are:
/// float32 products and sums, one cast.
/// Where autograd follows x, x becomes a new tensor and the old one stays unchanged, as its gradient may be needed.
void rope_(at::Tensor& x_THd, const RopeAngles& angles);

/// Returns x weight^T, plus bias where it is defined.  Sums are in float32, cast once to the dtype (ATen's kernels add
/// a bias before or after the cast).
at::Tensor linear(const at::Tensor& x_TI, const at::Tensor& weight_OI, const at::Tensor& bias_O);

/// Returns linear() of each of the weights; for one row of x, all weights are read in one parallel loop.
std::vector<at::Tensor> linears(const at::Tensor& x_TI, const std::vector<Weights>& weights);

/// Returns softmax(q k^T / sqrt(d) + causal mask) v per head; query head h reads key/value head h / (H / K).  Scores
/// and softmax are in float32, the output is cast once to q's dtype.  Memory is linear in N, and so is time with a
/// sliding window.  Queries are those of the last T of the N tokens: query t sees the last keys of 0..t + N - T.
at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                            const AttentionOptions& options = {});

/// One of several sequences that are concatenated in the rows of a tensor.
struct SequenceRows {
  int64_t begin, end;
  int64_t parent = -1;  ///< the earlier sequence that this one continues, which has no parent itself; -1: none
};

/// Keys and values that precede all sequences of some packs, as attention reads them.
struct Prefix {
  int64_t length = 0;
  at::Tensor key_CKd,
      value_CKd;      ///< followed by writable free space; undefined where `packed` is defined
  at::Tensor packed;  ///< in a kernel's own memory layout
};

/// Returns whether this processor has our kernel for causal_attention() in bfloat16 (AVX512-BF16); ATen's serves
/// elsewhere.
bool has_cpu_attention();

/// Keeps keys and values for attention_in_packs() of queries of this kind, with the same options.  `room` is the length
/// of the longest sequence, including its parent.
Prefix keep_prefix(const at::Tensor& q_PHd, const at::Tensor& k_PKd, const at::Tensor& v_PKd, int64_t room,
                   const AttentionOptions& options = {});

/// Returns causal_attention of each sequence: a query sees `prefix` if there is one, the sequence's parent, and its own
/// sequence up to itself.
at::Tensor attention_in_packs(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd,
                              const std::vector<SequenceRows>& sequences, const Prefix* prefix,
                              const AttentionOptions& options = {});

/// Returns causal_attention through a quantized cache: a query of token t sees the tokens in (t - residual, t] as
/// exact_k and exact_v and those before as cached_k and cached_v.  Scores, softmax and sums are in float32, the output
/// is cast once.  Our kernel for causal_attention() in bfloat16 does this, too; elsewhere it is ATen's products.
at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual,
                              const AttentionOptions& options = {});

/// Returns silu(gate) * up: silu in float32 cast to the dtype, the product in the dtype.
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);

/// Returns -log softmax(logits)[target] per row, float64 [T]: exponentials in float32 from the logits' dtype, their sum
/// and everything after it in float64.  Rows are independent: logits may be passed in blocks of any size.
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);

/// The weights of a decoder layer, and its cache for up to C tokens, with keys after RoPE.
struct CachedLayer {
  const at::Tensor &input_norm_D, &post_attention_norm_D, &q_norm_d, &k_norm_d;
  const Weights &q_proj, &k_proj, &v_proj, &o_proj, &gate_proj, &up_proj, &down_proj;
  double rms_norm_eps;
  const AttentionOptions& attention;
  bool rope;
  const at::Tensor &key_CKd, &value_CKd;

  std::array<const Weights*, 7> linears() const {
    return {&q_proj, &k_proj, &v_proj, &o_proj, &gate_proj, &up_proj, &down_proj};
  }
};

/// Adds x^T x to the upper triangle of sum_II (what is below the diagonal stays undefined): exact products of x and
/// sums in float32.
void add_gram(at::Tensor& sum_II, const at::Tensor& x_RI);

/// Takes one token at `position` of C through a complete decoder layer: in place on its residual stream x and in the
/// cache.  Returns false without effect where there is no such kernel.  Bitwise equal to the ops above in the order of
/// decoder_layer() (model/llama.h).
bool decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position);

namespace reference {
at::Tensor linear(const at::Tensor& x_TI, const at::Tensor& weight_OI, const at::Tensor& bias_O);
at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);
void rope_(at::Tensor& x_THd, const RopeAngles& angles);
at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                            const AttentionOptions& options = {});
at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual,
                              const AttentionOptions& options = {});
/// Returns about how many bytes attention over T tokens holds beside its arguments and result; see kQueryRows.
int64_t attention_bytes(int64_t heads, int64_t kv_heads, int64_t dim, int64_t tokens, at::ScalarType dtype,
                        bool residual);
at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF);
at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T);
void add_gram(at::Tensor& sum_II, const at::Tensor& x_RI);
}  // namespace reference

}  // namespace qroar::ops
