// The YAML blocks rotation, quant, kv and calibration together: one way to quantize a model.
#pragma once
#include <optional>

#include "quant/calibration.h"
#include "quant/plan.h"

namespace qroar {

struct Quantization {
  QuantPlan plan;
  std::optional<CalibrationSpec> calibration;  ///< set where a quantizer asks for it
  Json key;                                    ///< the blocks as they count: equal for equal ways

  Quantization() = default;
  /// Reads the blocks from `root`.  An Error where a quantizer needs calibration and there is none.
  Quantization(const Config& root, const LlamaConfig& llama);

  /// Sets `key` from what `root` resolved to, and takes a calibration out of it that nothing asks for.
  void resolve(Json& root);
};

}  // namespace qroar
