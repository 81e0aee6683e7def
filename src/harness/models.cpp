#include "harness/models.h"

#include "base/error.h"
#include "model/angles.h"
#include "quant/calibrate.h"

namespace qroar {
namespace {

/// Counts up when calibration would find other things in the same inputs.
constexpr int kCalibrationVersion = 2;

}  // namespace

const Checkpoint& Models::checkpoint(const Job& job) {
  if (checkpoint_ == nullptr || path_ != job.model.path) {
    full_key_.clear();
    quant_key_.clear();
    quantized_ = full_ = {};
    found_.clear();
    checkpoint_ = std::make_unique<Checkpoint>(job.model.path);
    path_ = job.model.path;
    hash_ = checkpoint_->hash();
  }
  return *checkpoint_;
}

const std::string& Models::hash(const Job& job) {
  checkpoint(job);
  return hash_;
}

TensorMap Models::calibrated(const Job& job, const Llama& prepared, const CalibrationText& text) const {
  const at::Device device = prepared.embed_tokens_VD.device();
  const RopeTable table = job.calibration_table();
  const Json key{{"version", kCalibrationVersion},
                 {"model", hash_},
                 {"dtype", at::toString(job.model.dtype)},
                 {"device", device.is_cpu() ? "cpu" : "cuda"},
                 {"rotation", job.resolved["rotation"]},
                 {"quant", job.resolved["quant"]},
                 {"text", text.hash},
                 {"inv_freq", table.inv_freq},
                 {"attention_factor", table.attention_factor},
                 {"bfloat16_rope", job.model.bfloat16_rope}};
  return calibrate_cached(
      key.dump(), job.quant.rules, prepared, text,
      rope_angles(table, job.calibration->length, job.model.dtype, device, job.model.bfloat16_rope));
}

const Llama& Models::model(const Job& job, const at::Device& device, const CalibrationText* text) {
  const Checkpoint& source = checkpoint(job);
  const std::string full_key = fmt::format("{} {}", at::toString(job.model.dtype), device.str());
  if (full_key != full_key_) {
    full_key_.clear();
    quant_key_.clear();
    found_.clear();
    quantized_ = full_ = {};  // free the old weights before the new ones are made
    full_ = source.build(job.model.dtype, device);
    full_key_ = full_key;
  }
  if (job.quant_key != quant_key_) {
    quant_key_.clear();
    quantized_ = {};
    found_.clear();
    const Llama prepared = prepare(job.quant, full_);
    if (text != nullptr) found_ = calibrated(job, prepared, *text);
    quantized_ = apply(job.quant, prepared, found_);
    quant_key_ = job.quant_key;
  }
  return quantized_;
}

}  // namespace qroar
