// Moving a scale per input channel from the linear layers that read a tensor into the operation that made it: the
// function of the layer stays as it is, its weights become easier or harder to quantize (SmoothQuant, AWQ).
#pragma once
#include <string>
#include <vector>

#include "checkpoint/tensors.h"
#include "model/llama.h"

namespace qroar {

/// Linear layers that read one tensor, and what made it: a norm's weight or the rows of another linear layer.
struct ScaleGroup {
  std::string name;  ///< of what made the tensor, "input_layernorm"
  at::Tensor DecoderLayer::*norm = nullptr;
  Linear DecoderLayer::*previous = nullptr;
  std::vector<Linear DecoderLayer::*> linears;
};

/// All groups of a decoder layer in forward order: input_layernorm, v_proj, post_attention_layernorm, up_proj.
const std::vector<ScaleGroup>& scale_groups();

/// Can a scale be moved?  Not from o_proj to v_proj under grouped-query attention, where several query heads read one
/// value channel, and not past a transform (an online rotation) in front of the linear layers.
bool can_fold(const DecoderLayer& layer, const ScaleGroup& group);

/// Divides what makes the tensor by scale_I and multiplies the columns that read it; float32, each cast once to its
/// dtype.
void fold_scale(DecoderLayer& layer, const ScaleGroup& group, const at::Tensor& scale_I);

/// Folds the scales that were found, under "scale." and the group's name.
void fold_found(DecoderLayer& layer, const TensorMap& found);

/// weight_OI with its columns multiplied by scale_I.
at::Tensor scale_columns(const at::Tensor& weight_OI, const at::Tensor& scale_I);

}  // namespace qroar
