// Calibration samples on their way through one decoder layer, stage by stage (kStages): one forward of the layer, in
// which what a stage finds can change the layer before the samples leave it.
#pragma once
#include <vector>

#include "quant/calibrated.h"

namespace qroar {

class LayerWalk {
 public:
  /// Takes the layer's inputs, a tensor [T, D] for each sample, and overwrites them.  `angles`: of positions 0..T-1.
  LayerWalk(const LlamaConfig& config, const ops::RopeAngles& angles, std::vector<at::Tensor> inputs)
      : config_(config), attention_(angles), stream_(std::move(inputs)), seen_(stream_.size()) {}

  /// Takes all samples through the layer.  At each stage, calls the calibrators' begin_sample() and on_input() for each
  /// sample and then end_stage(), which may replace weights of `layer`.  Returns the layer's outputs.  Throws an Error
  /// for values that are not finite, naming layer and sample.
  std::vector<at::Tensor> through(DecoderLayer& layer,
                                  const std::vector<std::shared_ptr<LayerCalibrator>>& calibrators);

 private:
  /// Returns the input of a stage's linear layers, given that of the stage before.
  at::Tensor next(std::size_t stage, const DecoderLayer& layer, std::size_t sample);

  const LlamaConfig& config_;
  Attention attention_;
  std::vector<at::Tensor> stream_, seen_;  ///< by sample: residual stream, and input of the stage's linear layers
};

}  // namespace qroar
