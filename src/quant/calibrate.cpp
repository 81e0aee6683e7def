#include "quant/calibrate.h"

#include "base/error.h"
#include "base/progress.h"
#include "base/stop.h"
#include "quant/layer_walk.h"

namespace qroar {
namespace {

using Calibrators = std::vector<std::shared_ptr<LayerCalibrator>>;

/// Records the lowest and the highest input value of each layer whose input has a static range.
class RangeCalibrator : public LayerCalibrator {
 public:
  explicit RangeCalibrator(const QuantRules& rules) : rules_(rules) {}
  void on_input(std::string_view name, const at::Tensor& x_RI) override {
    const std::string site(name);
    if (!rules_.is_static(site)) return;
    const at::Tensor now = at::stack({x_RI.min(), x_RI.max()}).to(at::kFloat);
    at::Tensor& range = found_[name_in_layer(site) + kRangeSuffix];
    range = range.defined() ? at::stack({at::minimum(range[0], now[0]), at::maximum(range[1], now[1])}) : now;
  }
  TensorMap found() override { return found_; }

 private:
  const QuantRules& rules_;
  TensorMap found_;
};

class Calibration {
 public:
  Calibration(const QuantRules& rules, const Llama& model, const CalibrationText& text, const ops::RopeAngles& angles)
      : rules_(rules), model_(model), text_(text), angles_(angles) {}

  TensorMap run(CalibrationCache* cache) {
    bool any_exact = false, any_quantized = false;
    for (const DecoderLayer& layer : model_.layers) {
      any_quantized |= has_static(layer);
      for (const auto& quantizer : rules_.calibrated(layer)) {
        (quantizer->sees_quantized_inputs() ? any_quantized : any_exact) = true;
      }
    }
    CalibrationStreams streams;
    std::vector<TensorMap> layers;
    const std::size_t done = cache == nullptr ? 0 : cache->resume(layers, streams);
    if (done == 0) streams = {any_exact ? embedded() : Stream(), any_quantized ? embedded() : Stream()};
    Progress progress(static_cast<double>(model_.layers.size()));
    progress.advance(static_cast<double>(done), "");
    for (std::size_t i = done; i < model_.layers.size(); ++i) {
      throw_if_stop_requested();
      layers.push_back(layer(model_.layers[i].loaded(), streams));
      if (cache != nullptr) layers.back() = cache->keep(i, std::move(layers.back()), streams);
      progress.advance(1, "calibrating " + model_.layers[i].site);
    }
    TensorMap found;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      for (const auto& [name, tensor] : layers[i]) found[model_.layers[i].site + "." + name] = tensor;
    }
    return found;
  }

 private:
  using Stream = std::vector<at::Tensor>;

  /// Takes the samples through a full-precision layer and returns what its quantizers found.
  TensorMap layer(const DecoderLayer& full, CalibrationStreams& streams) const {
    TensorMap found;
    DecoderLayer changed = full;
    const auto through = [&](Stream& stream, const Calibrators& calibrators) {
      if (stream.empty()) return;
      stream = LayerWalk(model_.config, angles_, std::move(stream)).through(changed, calibrators);
      collect(calibrators, full, found);
    };
    through(streams.exact, watch(full, /*quantized_inputs=*/false));
    if (streams.quantized.empty()) return found;
    quantize_layer(rules_, changed, found, /*quantized_inputs=*/false);
    Calibrators calibrators = watch(full, /*quantized_inputs=*/true);
    calibrators.push_back(std::make_shared<RangeCalibrator>(rules_));
    through(streams.quantized, calibrators);
    return found;
  }

  bool has_static(const DecoderLayer& layer) const {
    return std::ranges::any_of(kLayerLinears, [&](auto member) { return rules_.is_static((layer.*member).site); });
  }

  Stream embedded() const {
    Stream stream;
    for (const auto& sample : text_.samples) {
      const at::Tensor tokens_T = at::tensor(at::ArrayRef<int32_t>(sample), at::kInt).to(at::kLong);
      stream.push_back(embed(model_, tokens_T.to(model_.embed_tokens_VD.device())));
    }
    return stream;
  }

  Calibrators watch(const DecoderLayer& layer, bool quantized_inputs) const {
    Calibrators calibrators;
    for (const auto& quantizer : rules_.calibrated(layer)) {
      if (quantizer->sees_quantized_inputs() != quantized_inputs) continue;
      calibrators.push_back(quantizer->watch({model_.config, layer, angles_, std::ssize(text_.samples),
                                              std::ssize(text_.samples.front()), rules_.sites_of(*quantizer)}));
    }
    return calibrators;
  }

  static void collect(const Calibrators& calibrators, const DecoderLayer& layer, TensorMap& found) {
    for (const auto& calibrator : calibrators) {
      for (auto& [name, tensor] : calibrator->found()) {
        if (!found.emplace(name, tensor).second) {
          fail("{}: two rules of `quant` calibrate {}; layers that share their input (q, k, v; gate, up) need one rule",
               layer.site, name);
        }
      }
    }
  }

  const QuantRules& rules_;
  const Llama& model_;
  const CalibrationText& text_;
  const ops::RopeAngles& angles_;
};

}  // namespace

TensorMap calibrate_cached(CalibrationCache& cache, const QuantRules& rules, const Llama& prepared,
                           const CalibrationText& text, const ops::RopeAngles& angles) {
  if (auto cached = cache.read()) return *std::move(cached);
  return cache.write(Calibration(rules, prepared, text, angles).run(&cache));
}

TensorMap calibrate(const QuantRules& rules, const Llama& prepared, const CalibrationText& text,
                    const ops::RopeAngles& angles) {
  return Calibration(rules, prepared, text, angles).run(nullptr);
}

}  // namespace qroar
