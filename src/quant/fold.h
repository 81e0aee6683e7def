// Moves a scale per input channel from the linear layers that read a tensor into the operation that produced it: the
// layer's function does not change, but its weights become easier or harder to quantize (SmoothQuant, AWQ).
#pragma once
#include <string>
#include <vector>

#include "checkpoint/tensors.h"
#include "model/llama.h"

namespace qroar {

/// The linear layers that read one tensor, and its producer: a norm's weight or the rows of another linear layer.
struct ScaleGroup {
  std::string name;  ///< name of the producer, such as "input_layernorm"
  at::Tensor DecoderLayer::*norm = nullptr;
  Linear DecoderLayer::*previous = nullptr;
  std::vector<Linear DecoderLayer::*> linears;
};

/// Returns all groups of a decoder layer in forward order: input_layernorm, v_proj, post_attention_layernorm, up_proj.
const std::vector<ScaleGroup>& scale_groups();

/// Returns whether the scale can be moved.  It cannot move from o_proj to v_proj under grouped-query attention, where
/// several query heads read one value channel, nor past a transform (an online rotation) in front of the linear layers.
bool can_fold(const DecoderLayer& layer, const ScaleGroup& group);

/// Divides the tensor's producer by scale_I and multiplies the columns that read it, in float32, casting each once to
/// its dtype.
void fold_scale(DecoderLayer& layer, const ScaleGroup& group, const at::Tensor& scale_I);

/// Folds the scales that calibration found, stored under "scale." and the group's name.
void fold_found(DecoderLayer& layer, const TensorMap& found);

/// Returns weight_OI with its columns multiplied by scale_I.
at::Tensor scale_columns(const at::Tensor& weight_OI, const at::Tensor& scale_I);

}  // namespace qroar
