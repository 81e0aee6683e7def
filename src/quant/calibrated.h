// The interface of quantizers that look at what goes into the layers: AWQ, GPTQ, SmoothQuant.  A calibrator watches the
// samples pass through one decoder layer; what it finds is a map of named tensors that can be stored, and apply() turns
// a full-precision layer and those tensors into a quantized layer, whether they were found just now or read from disk.
#pragma once
#include <functional>
#include <memory>

#include "checkpoint/tensors.h"
#include "model/llama.h"
#include "quant/rtn.h"

namespace qroar {

/// Is this linear layer ("layers.3.mlp.up_proj") the quantizer's to quantize?
using TakesSite = std::function<bool(const std::string& site)>;

/// What a calibrator is given of the layer it watches.
struct LayerContext {
  const LlamaConfig& config;
  const DecoderLayer& layer;  ///< in full precision
  const ops::RopeAngles& angles;
  int64_t samples, length;  ///< sequences that pass in one pass, and tokens of each
  TakesSite takes;
};

class LayerCalibrator : public Observer {
 public:
  void on(std::string_view, const at::Tensor&) override {}
  virtual void begin_sample(int64_t index) = 0;
  /// All samples have passed.  True asks for another pass, through `layer` as this call left it.
  virtual bool end_pass(DecoderLayer& layer) = 0;
  /// What apply() needs, after the last pass.
  virtual TensorMap found() const = 0;
};

/// As a plain quantizer it is the RTN that it rounds with.
class CalibratedQuantizer : public Quantizer {
 public:
  CalibratedQuantizer(const Config& config, const RtnDefaults& defaults) : rtn_(config, defaults) {}
  void check_site(const LinearSite& site) const override { rtn_.check_site(site); }
  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override { return rtn_.fake_quantize(weight_OI); }
  double bits_per_weight(const LinearSite& site) const override { return rtn_.bits_per_weight(site); }
  std::optional<std::string> couples_rows(const LinearSite& site) const override { return rtn_.couples_rows(site); }
  RowScaling commutes_with_row_scaling(const LinearSite& site) const override {
    return rtn_.commutes_with_row_scaling(site);
  }

  /// Do samples come out of the quantized layers before (GPTQ) or of full-precision ones (AWQ)?  In the latter case one
  /// pass must do.
  virtual bool sees_quantized_inputs() const = 0;
  virtual std::unique_ptr<LayerCalibrator> watch(const LayerContext& context) const = 0;
  /// Quantizes the sites it takes in a full-precision layer into which fold_found() has folded the scales, replacing
  /// tensors and never writing to them.
  virtual void apply(DecoderLayer& layer, const TakesSite& takes, const TensorMap& found) const = 0;

 protected:
  const Rtn rtn_;
};

/// "mlp.up_proj" of "layers.3.mlp.up_proj": names of what was found do not carry the layer's number.
std::string name_in_layer(std::string_view site);

}  // namespace qroar
