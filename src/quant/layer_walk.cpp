#include "quant/layer_walk.h"

#include <cmath>

#include "base/error.h"

namespace qroar {
namespace {

void check_finite(const at::Tensor& x, const std::string& layer, std::size_t sample) {
  const auto [least, largest] = at::aminmax(x);  // one is NaN where any is
  if (std::isfinite(least.item<double>()) && std::isfinite(largest.item<double>())) return;
  fail(
      "calibration: values that are not finite come out of {} for sample {} (dtype {}); check the weights, or try "
      "model.dtype: float32",
      layer, sample, at::toString(x.scalar_type()));
}

}  // namespace

at::Tensor LayerWalk::next(std::size_t stage, const DecoderLayer& layer, std::size_t sample) {
  at::Tensor& x_TD = stream_[sample];
  const at::Tensor before = seen_[sample];
  switch (stage) {
    case 0: return ops::rms_norm(x_TD, layer.input_norm_D, config_.rms_norm_eps);
    case 1: return mixed_heads(layer, config_, before, attention_);
    case 2:
      add_sublayer(x_TD, apply(layer.o_proj, before), config_);
      return ops::rms_norm(x_TD, layer.post_attention_norm_D, config_.rms_norm_eps);
    default: return gated(layer, before);
  }
}

std::vector<at::Tensor> LayerWalk::through(DecoderLayer& layer,
                                           const std::vector<std::shared_ptr<LayerCalibrator>>& calibrators) {
  for (std::size_t stage = 0; stage < kStages.size(); ++stage) {
    for (std::size_t i = 0; i < stream_.size(); ++i) {
      seen_[i] = next(stage, layer, i);
      check_finite(seen_[i], layer.site, i);
      for (const auto& calibrator : calibrators) calibrator->begin_sample(static_cast<int64_t>(i));
      for (const auto member : kStages[stage]) {
        const Linear& linear = layer.*member;
        const at::Tensor input_TI = linear.input(seen_[i]);
        for (const auto& calibrator : calibrators) calibrator->on_input(linear.site, input_TI);
      }
    }
    for (const auto& calibrator : calibrators) calibrator->end_stage(stage, layer);
  }
  for (std::size_t i = 0; i < stream_.size(); ++i) {
    add_sublayer(stream_[i], apply(layer.down_proj, seen_[i]), config_);
    seen_[i].reset();
    check_finite(stream_[i], layer.site, i);
  }
  return std::move(stream_);
}

}  // namespace qroar
