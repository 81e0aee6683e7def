// All that is done to a full-precision model before it is evaluated.
#pragma once
#include "quant/calibrated.h"
#include "quant/kv_cache.h"
#include "quant/rotation.h"
#include "quant/rules.h"

namespace qroar {

/// The YAML blocks that change weights and activations.
struct QuantPlan {
  Rotation rotation;  ///< `rotation`, done before anything is quantized
  QuantRules rules;   ///< `quant`
  KvCache kv;         ///< `kv`

  QuantPlan() = default;
  /// Reads the blocks from the root and checks them against the model's layers.
  QuantPlan(const Config& root, const LlamaConfig& llama);
};

/// What comes before calibration: the full-precision model as the calibrated quantizers see it.
Llama prepare(const QuantPlan& plan, const Llama& full);

/// What calibrate() adds to a layer's name for the range [2] of its inputs, {lowest, highest} in float32.
inline constexpr const char* kRangeSuffix = ".input_range";

/// Replaces the weights of one prepared layer; `found` is what calibration found for it, empty where nothing is
/// calibrated.
void quantize_layer(const QuantRules& rules, DecoderLayer& layer, const TensorMap& found);

/// A view of the prepared model with weights replaced and transforms attached as the plan says; whatever the plan does
/// not touch stays shared, and `prepared` is not written to.  `found`: of calibrate(), names begin with "layers.N.".
Llama apply(const QuantPlan& plan, const Llama& prepared, const TensorMap& found);

/// The prepared model with the scales moved that apply() moves and nothing rounded: the same function as `prepared`,
/// with weights and activations that compare one to one with those of apply()'s model.
Llama folded(const Llama& prepared, const TensorMap& found);

}  // namespace qroar
