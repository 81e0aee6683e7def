// Sends calibration texts through a model, one decoder layer after the other, for the quantizers that depend on inputs.
// Each layer takes one forward.  Memory beside the model: per sample two hidden states and the widest input of a linear
// layer, and what the quantizers keep of one layer.
#pragma once
#include "quant/calibration.h"
#include "quant/calibration_cache.h"
#include "quant/plan.h"

namespace qroar {

/// Returns what every calibrated quantizer of the rules found, under "layers.N." and the quantizer's own name.
/// `angles` are those of positions 0..length-1.  Shows progress.  Throws an Error for activations that are not finite
/// (naming layer and sample), for two rules that would move scales of the same tensor, and for whatever a quantizer
/// rejects.
TensorMap calibrate(const QuantRules& rules, const Llama& prepared, const CalibrationText& text,
                    const ops::RopeAngles& angles);

/// Does the same through a cache.  A calibration that was killed goes on behind the last layer that it had finished.
/// The cache has to be asked for as long as the result is used: parts of it may be mapped.
TensorMap calibrate_cached(CalibrationCache& cache, const QuantRules& rules, const Llama& prepared,
                           const CalibrationText& text, const ops::RopeAngles& angles);

}  // namespace qroar
