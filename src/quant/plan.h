// All that is done to a full-precision model before it is evaluated.
#pragma once
#include "model/llama.h"
#include "quant/rotation.h"
#include "quant/rules.h"

namespace qroar {

/// The YAML blocks that change weights and activations.
struct QuantPlan {
  Rotation rotation;  ///< `rotation`, done before anything is quantized
  QuantRules rules;   ///< `quant`

  QuantPlan() = default;
  /// Reads the blocks from the root and checks them against the model's layers.
  QuantPlan(const Config& root, const LlamaConfig& llama);
};

/// A view of the model with weights replaced and transforms attached as the plan says; whatever the plan does not touch
/// stays shared, and `full` is not written to.
Llama apply(const QuantPlan& plan, const Llama& full);

}  // namespace qroar
