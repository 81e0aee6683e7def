// The Llama family decoder (Touvron et al. arXiv 2307.09288; grouped-query attention of Ainslie et al. arXiv
// 2305.13245) as plain structs of tensors.  It knows no RoPE scheme, bit width or metric: those reach it as angles and
// as weights.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "model/llama_config.h"
#include "model/observer.h"
#include "ops/ops.h"

namespace qroar {

struct Linear {
  at::Tensor weight_OI;  ///< [outputs, inputs]
  at::Tensor bias_O;     ///< undefined where the layer has none
  std::string site;
};

struct DecoderLayer {
  std::string site;
  at::Tensor input_norm_D, post_attention_norm_D;
  Linear q_proj, k_proj, v_proj, o_proj;
  Linear gate_proj, up_proj, down_proj;
};

struct Llama {
  LlamaConfig config;
  at::Tensor embed_tokens_VD;
  std::vector<DecoderLayer> layers;
  at::Tensor norm_D;
  Linear lm_head;  ///< shares embed_tokens' storage when tied

  /// Calls visit(Linear&) for every linear layer, in the order of linear_sites().
  template <class Visit>
  void each_linear(Visit visit) {
    for (DecoderLayer& layer : layers) {
      for (Linear DecoderLayer::*linear :
           {&DecoderLayer::q_proj, &DecoderLayer::k_proj, &DecoderLayer::v_proj, &DecoderLayer::o_proj,
            &DecoderLayer::gate_proj, &DecoderLayer::up_proj, &DecoderLayer::down_proj}) {
        visit(layer.*linear);
      }
    }
    visit(lm_head);
  }
};

/// Final hidden states [T, D], normed, of a sequence of token ids [T] at positions 0..T-1; angles cover at least T
/// positions.
at::Tensor forward(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                   Observer* observer = nullptr);

/// Logits [R, V] of some rows of hidden states [R, D].  The caller keeps R small: [T, V] must never exist.
at::Tensor logits(const Llama& model, const at::Tensor& hidden_RD, Observer* observer = nullptr);

/// Floating point operations of one forward over T tokens with logits everywhere: 2 per weight and token in linear
/// layers, 4 per head channel and (query, key) pair of the causal triangle in attention.
double forward_flops(const LlamaConfig& config, int64_t T);

/// Upper estimate of the bytes that a forward over T tokens needs beside the weights.
int64_t forward_bytes(const LlamaConfig& config, int64_t T, int64_t element_size);

}  // namespace qroar
