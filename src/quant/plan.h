// Everything that is done to a full-precision model before it is evaluated.
#pragma once
#include "quant/calibrated.h"
#include "quant/kv_cache.h"
#include "quant/rotation.h"
#include "quant/rounding.h"
#include "quant/rules.h"

namespace qroar {

/// The YAML blocks that change weights and activations.
struct QuantPlan {
  Rounding rounding;            ///< `rounding`, applied first
  Rotation rotation;            ///< `rotation`, applied before anything is quantized
  QuantRules rules;             ///< `quant`
  KvCache kv;                   ///< `kv`
  double bits_per_weight = 16;  ///< see QuantRules::bits_per_weight()

  QuantPlan() = default;
  /// Reads the blocks from the root and checks them against the model's layers.
  QuantPlan(const Config& root, const LlamaConfig& llama);
};

/// Does what precedes calibration: returns the full-precision model as the calibrated quantizers see it.
Llama prepare(const QuantPlan& plan, const Llama& full);

/// The suffix that calibrate() adds to a layer's name for the range [2] of its inputs, {lowest, highest} in float32.
inline constexpr const char* kRangeSuffix = ".input_range";

/// Replaces the weights of one prepared layer; `found` is what calibration found for it, empty when nothing is
/// calibrated.  Without `quantized_inputs`, leaves out those whose quantizers are calibrated on inputs that quantized
/// layers make.
void quantize_layer(const QuantRules& rules, DecoderLayer& layer, const TensorMap& found, bool quantized_inputs = true);

/// Returns a view of the prepared model with weights replaced and transforms attached as the plan specifies.  Whatever
/// the plan does not change stays shared, and `prepared` is not written to.  `found`: the result of calibrate(), whose
/// names begin with "layers.N.".
Llama apply(const QuantPlan& plan, Llama prepared, const TensorMap& found);

/// Returns the prepared model with the scales folded as apply() folds them and nothing rounded: the same function as
/// `prepared`, with weights and activations that can be compared element by element with those of apply()'s model.
Llama folded(const Llama& prepared, const TensorMap& found);

}  // namespace qroar
