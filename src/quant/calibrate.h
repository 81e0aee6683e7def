// Sends calibration texts through a model, one decoder layer after the other, for the quantizers that depend on inputs.
// Memory beside the model: two hidden states per sample and what the quantizers keep of one layer.
#pragma once
#include "quant/calibration.h"
#include "quant/plan.h"

namespace qroar {

/// Returns what every calibrated quantizer of the rules found, under "layers.N." and the quantizer's own name.
/// `angles` are those of positions 0..length-1.  Shows progress.  Throws an Error for activations that are not finite
/// (naming layer and sample), for two rules that would move scales of the same tensor, and for whatever a quantizer
/// rejects.
TensorMap calibrate(const QuantRules& rules, const Llama& prepared, const CalibrationText& text,
                    const ops::RopeAngles& angles);

/// Does the same through the cache in cache_folder()/calibration, in a file named after `key`: a text that holds
/// everything the result depends on.
TensorMap calibrate_cached(const std::string& key, const QuantRules& rules, const Llama& prepared,
                           const CalibrationText& text, const ops::RopeAngles& angles);

}  // namespace qroar
