// The interface of quantizers that depend on the inputs of the layers: AWQ, GPTQ, SmoothQuant.  A calibrator observes
// the samples as they pass through one decoder layer.  Its result is a map of named tensors that can be stored; apply()
// makes a quantized layer from a full-precision layer and those tensors, whether they were just computed or read from
// disk.
#pragma once
#include <functional>
#include <memory>

#include "checkpoint/tensors.h"
#include "model/llama.h"
#include "quant/rtn.h"

namespace qroar {

/// Returns whether the quantizer quantizes this linear layer ("layers.3.mlp.up_proj").
using TakesSite = std::function<bool(const std::string& site)>;

/// What a calibrator knows about the layer that it observes.
struct LayerContext {
  const LlamaConfig& config;
  const DecoderLayer& layer;  ///< in full precision
  const ops::RopeAngles& angles;
  int64_t samples, length;  ///< number of sequences per pass, and tokens of each
  TakesSite takes;
};

/// The linear layers that read one tensor, in the order of a forward: all samples reach a stage before any leaves it.
inline const std::vector<std::vector<Linear DecoderLayer::*>> kStages{
    {&DecoderLayer::q_proj, &DecoderLayer::k_proj, &DecoderLayer::v_proj},
    {&DecoderLayer::o_proj},
    {&DecoderLayer::gate_proj, &DecoderLayer::up_proj},
    {&DecoderLayer::down_proj}};

class LayerCalibrator : public Observer {
 public:
  void on(std::string_view, const at::Tensor&) override {}
  virtual void begin_sample(int64_t /*index*/) {}
  /// Called when all samples have reached a stage; what it does to the stage's linear layers, the samples see.
  virtual void end_stage(std::size_t /*stage*/, DecoderLayer& /*layer*/) {}
  /// Returns what apply() needs; called after all samples have passed.
  virtual TensorMap found() = 0;
};

/// Used as a plain quantizer, it is the RTN that it rounds with.
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

  const Rtn& rtn() const { return rtn_; }

  /// Returns whether the inputs come from the quantized preceding layers (GPTQ) or from full-precision ones (AWQ).  The
  /// latter's calibrator must not change the layer.
  virtual bool sees_quantized_inputs() const = 0;
  virtual std::unique_ptr<LayerCalibrator> watch(const LayerContext& context) const = 0;
  /// Returns an estimate of the bytes that calibrating this layer takes beside its weight and the samples on their way;
  /// `length`: tokens of a sample.
  virtual int64_t calibration_bytes(const LinearSite& /*site*/, int64_t /*length*/) const { return 0; }
  /// Quantizes the layers that `takes` selects in a full-precision decoder layer into which fold_found() has folded the
  /// scales.  Replaces tensors and never writes to them.
  virtual void apply(DecoderLayer& layer, const TakesSite& takes, const TensorMap& found) const = 0;

 protected:
  const Rtn rtn_;
};

}  // namespace qroar
