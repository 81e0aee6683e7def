// Sends calibration texts through a model, one decoder layer after the other, for the quantizers that look at inputs.
// Memory beside the model: two hidden states per sample and what the quantizers keep of one layer.
#pragma once
#include "quant/calibration.h"
#include "quant/plan.h"

namespace qroar {

/// What every calibrated quantizer of the rules found, under "layers.N." and a name of its own.  angles are those of
/// positions 0..length-1.  Shows progress.  Errors: activations that are not finite (layer and sample named); two rules
/// that would move scales of the same tensor; whatever a quantizer refuses.
TensorMap calibrate(const QuantRules& rules, const Llama& prepared, const CalibrationText& text,
                    const ops::RopeAngles& angles);

/// The same through the cache in cache_folder()/calibration, in a file named after `key`: a text that holds all that
/// the result depends on.
TensorMap calibrate_cached(const std::string& key, const QuantRules& rules, const Llama& prepared,
                           const CalibrationText& text, const ops::RopeAngles& angles);

}  // namespace qroar
