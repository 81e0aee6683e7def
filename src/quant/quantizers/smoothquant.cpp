// SmoothQuant (Xiao et al. arXiv 2211.10438; docs/method.md 7.4): a scale per input channel moves the range of
// activations into the weights, s = max|x|^alpha / max|w|^(1-alpha), in front of q, k, v and of gate, up; then RTN.
#include "base/error.h"
#include "quant/calibrated.h"
#include "quant/fold.h"

namespace qroar {
namespace {

/// Records the largest input magnitudes of the layers that follow the two norms.
class MaximumCalibrator : public LayerCalibrator {
 public:
  MaximumCalibrator(const LayerContext& context, double alpha) : context_(context), alpha_(alpha) {}

  void begin_sample(int64_t) override {}

  void on_input(std::string_view site, const at::Tensor& x_RI) override {
    for (const ScaleGroup& group : scale_groups()) {
      if (group.norm == nullptr || (context_.layer.*group.linears.front()).site != site) continue;
      at::Tensor& largest_I = largest_[group.name];
      const at::Tensor now_I = x_RI.abs().amax(0);
      largest_I = largest_I.defined() ? at::maximum(largest_I, now_I) : now_I;
    }
  }

  TensorMap found() override {
    TensorMap found;
    for (const ScaleGroup& group : scale_groups()) {
      const auto largest = largest_.find(group.name);
      const auto taken = [&](auto member) { return context_.takes((context_.layer.*member).site); };
      if (largest == largest_.end() || std::ranges::none_of(group.linears, taken)) continue;
      found["scale." + group.name] = scale_of(group, largest->second);
    }
    return found;
  }

 private:
  at::Tensor scale_of(const ScaleGroup& group, const at::Tensor& activation_I) const {
    at::Tensor weight_I;
    for (const auto member : group.linears) {
      const at::Tensor now_I = (context_.layer.*member).weight_OI.abs().amax(0);
      weight_I = weight_I.defined() ? at::maximum(weight_I, now_I) : now_I;
    }
    const auto wide = ops::wide_dtype(weight_I);
    const at::Tensor weights = weight_I.to(wide).clamp_min(1e-5);
    return (activation_I.to(wide).pow(alpha_) / weights.pow(1 - alpha_)).clamp_min(1e-5);
  }

  LayerContext context_;
  double alpha_;
  std::map<std::string, at::Tensor> largest_;
};

class SmoothQuant : public CalibratedQuantizer {
 public:
  explicit SmoothQuant(const Config& config)
      : CalibratedQuantizer(config, {.bits = 8, .group = 0, .symmetric = true, .zero = {}}),
        alpha_(config.get<double>("alpha", 0.5, {0, 1})) {}

  bool sees_quantized_inputs() const override { return false; }

  std::unique_ptr<LayerCalibrator> watch(const LayerContext& context) const override {
    return std::make_unique<MaximumCalibrator>(context, alpha_);
  }

  void apply(DecoderLayer& layer, const TakesSite& takes, const TensorMap&) const override {
    for (const auto member : kLayerLinears) {
      Linear& linear = layer.*member;
      if (!takes(linear.site)) continue;
      linear.change([rtn = rtn_](const at::Tensor& weight_OI) { return rtn.fake_quantize(weight_OI.contiguous()); });
    }
  }

 private:
  double alpha_;
};

const Register<Quantizer, SmoothQuant> kSmoothQuant{
    "smoothquant", "activation scales moved into the weights, then rtn (arXiv 2211.10438); needs `calibration`",
    "{type: smoothquant, alpha: 0.5, bits: 8, group: 0, symmetric: true}"};

}  // namespace
}  // namespace qroar
