#include "run/models.h"

#include <spdlog/spdlog.h>

#include "base/error.h"
#include "model/angles.h"
#include "quant/calibrate.h"
#include "run/environment.h"

namespace qroar {
namespace {

/// Increment it when calibration would give different results for the same inputs.
constexpr int kCalibrationVersion = 5;

}  // namespace

void Models::Source::open(const CheckpointSpec& of) {
  checkpoint.reset();
  auto opened = std::make_unique<Checkpoint>(of);
  hash = opened->hash();
  spec = of;
  checkpoint = std::move(opened);
}

void Models::Source::close_changed() {
  try {
    if (checkpoint != nullptr) checkpoint->check_unchanged();
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());
    checkpoint.reset();
  }
}

void Models::close_changed() {
  source_.close_changed();
  reference_source_.close_changed();
  try {
    if (calibration_) calibration_->check_unchanged();
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());
    forget_quantized();
  }
}

void Models::check_config(const Job& job) {
  if (checkpoint(job).config().hash != job.model.config.hash)
    fail("{}: config.json changed since the experiment was read; run again", job.model.spec.path.string());
}

void Models::check_unchanged(const Job& job) {
  checkpoint(job).check_unchanged();
  if (job.model.reference) reference_checkpoint(*job.model.reference).check_unchanged();
  if (calibration_) calibration_->check_unchanged();
}

void Models::forget_quantized() {
  quantized_key_.clear();
  quantized_ = rescaled_ = {};
  found_.clear();
  calibration_.reset();
}

const Checkpoint& Models::checkpoint(const Job& job) {
  if (!source_.is(job.model.spec)) {
    full_key_.clear();
    forget_quantized();
    full_ = {};
    source_.open(job.model.spec);
  }
  return *source_.checkpoint;
}

const Checkpoint& Models::reference_checkpoint(const ReferenceSpec& spec) {
  if (!reference_source_.is(spec)) {
    reference_key_.clear();
    reference_ = {};
    reference_source_.open(spec);
  }
  return *reference_source_.checkpoint;
}

std::string Models::build_key(at::ScalarType dtype, const at::Device& device) const {
  return fmt::format("{} {} {}", at::toString(dtype), device.str(), streamed_ ? "streamed" : "resident");
}

const std::string& Models::hash(const Job& job) {
  checkpoint(job);
  return source_.hash;
}

const std::string& Models::reference_hash(const ReferenceSpec& spec) {
  reference_checkpoint(spec);
  return reference_source_.hash;
}

const Llama& Models::reference(const ReferenceSpec& spec, const at::Device& device) {
  const Checkpoint& source = reference_checkpoint(spec);
  const std::string key = build_key(spec.dtype, device);
  if (key != reference_key_) {
    reference_key_.clear();
    reference_ = {};
    reference_ = source.build(spec.dtype, device, streamed_);
    reference_key_ = key;
  }
  return reference_;
}

const Llama& Models::original(const Job& job, const at::Device& device) {
  const Checkpoint& source = checkpoint(job);
  const std::string key = build_key(job.model.spec.dtype, device);
  if (key != full_key_) {
    full_key_.clear();
    forget_quantized();  // free the old weights before the new ones are made
    full_ = {};
    full_ = source.build(job.model.spec.dtype, device, streamed_);
    full_key_ = key;
  }
  return full_;
}

RopeTable Models::calibration_table(const Recipe& recipe) const {
  const CalibrationSpec& spec = *recipe.quantization.calibration;
  return spec.evaluated_rope ? recipe.job.table(spec.length, full_) : recipe.job.trained_table(spec.length);
}

std::string Models::key_of(const Recipe& recipe) const {
  Json key{recipe.quantization.key, recipe.rescaling.weights_key()};
  if (recipe.text != nullptr) {
    const RopeTable table = calibration_table(recipe);
    key.push_back(Json{recipe.text->hash, recipe.quantization.calibration->length, table.inv_freq,
                       table.attention_factor, recipe.job.model.spec.bfloat16_rope});
  }
  return key.dump();
}

TensorMap Models::calibrated(const Recipe& recipe, const Llama& prepared) {
  const Job& job = recipe.job;
  const at::Device device = prepared.embed_tokens_VD.device();
  const RopeTable table = calibration_table(recipe);
  const int64_t length = recipe.quantization.calibration->length;
  Json key{{"version", kCalibrationVersion},
           {"model", source_.hash},
           {"dtype", at::toString(job.model.spec.dtype)},
           {"bits", machine_bits(device)},
           {"rotation", recipe.quantization.key["rotation"]},
           {"quant", recipe.quantization.key["quant"]},
           {"text", recipe.text->hash},
           {"length", length},  // the same tokens may be one sample or two
           {"inv_freq", table.inv_freq},
           {"attention_factor", table.attention_factor},
           {"bfloat16_rope", job.model.spec.bfloat16_rope}};
  const Json scales = recipe.rescaling.weights_key();
  if (!scales.is_null()) key["rescale"] = scales;
  if (recipe.quantization.plan.rounding.draw > 0) key["rounding"] = recipe.quantization.key["rounding"];
  calibration_.emplace(key.dump(), device, prepared.is_streamed(),
                       [&source = *source_.checkpoint] { source.check_unchanged(); });
  return calibrate_cached(*calibration_, recipe.quantization.plan.rules, prepared, *recipe.text,
                          rope_angles(table, length, job.model.spec.dtype, device, job.model.spec.bfloat16_rope));
}

const Llama& Models::model(const Recipe& recipe, const at::Device& device) {
  const Llama& full = original(recipe.job, device);
  const std::string key = key_of(recipe);
  if (key != quantized_key_) {
    forget_quantized();
    rescaled_ = full;
    recipe.rescaling.apply(rescaled_);
    Llama prepared = prepare(recipe.quantization.plan, rescaled_);
    if (recipe.text != nullptr) found_ = calibrated(recipe, prepared);
    quantized_ = apply(recipe.quantization.plan, std::move(prepared), found_);
    quantized_key_ = key;
  }
  return quantized_;
}

}  // namespace qroar
