// The YAML blocks rounding, rotation, quant, kv and calibration together: one way to quantize a model.
#pragma once
#include <optional>

#include "quant/calibration.h"
#include "quant/plan.h"

namespace qroar {

struct Quantization {
  QuantPlan plan;
  std::optional<CalibrationSpec> calibration;  ///< set when a quantizer requires it
  Json key;                                    ///< the normalized blocks: equal for equivalent configurations

  Quantization() = default;
  /// Reads the blocks from `root`.  Throws an Error when a quantizer requires calibration and there is none.
  Quantization(const Config& root, const LlamaConfig& llama);

  /// Sets `key` from the resolved `root`, and removes from it a calibration that no quantizer requires.
  void resolve(Json& root);
};

}  // namespace qroar
