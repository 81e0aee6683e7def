// Caches the checkpoint and the last models built from it: the runner orders cells so that neighbours share them.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "quant/calibration_cache.h"
#include "run/job.h"

namespace qroar {

/// How a model is built from a job's checkpoint.
struct Recipe {
  const Job& job;
  const Rescaling& rescaling;  ///< applied first
  const Quantization& quantization;
  const CalibrationText* text;  ///< calibration text of its quantizers; null when they need none
};

class Models {
 public:
  /// Called before a cell, when no model is in use: checkpoints whose files have changed are opened again at the next
  /// request.
  void close_changed();
  /// Throws an Error when the job was read from a different config.json than the current one.
  void check_config(const Job& job);
  /// Called after a cell and before anything computed in it is kept: throws an Error when a file that its models read
  /// has changed since, or a part of it could not be read.
  void check_unchanged(const Job& job);

  /// Returns the hash of the job's checkpoint.
  const std::string& hash(const Job& job);

  /// Makes models whose layers are streamed (Checkpoint::build()) from now on, or not.
  void stream(bool streamed) { streamed_ = streamed; }

  /// Returns the checkpoint's model without any change.
  const Llama& original(const Job& job, const at::Device& device);

  /// Returns the same for the checkpoint that a job's metrics compare with.
  const std::string& reference_hash(const ReferenceSpec& spec);
  const Llama& reference(const ReferenceSpec& spec, const at::Device& device);

  /// Returns the model of a recipe.  Full-precision weights are shared with the last model where checkpoint, dtype and
  /// device are the same; the whole model is shared where rescaling and quantization are the same, too.
  const Llama& model(const Recipe& recipe, const at::Device& device);
  /// Returns whether model() of this recipe would be the last model, of the same checkpoint, dtype and device.
  bool is_last(const Recipe& recipe) const { return key_of(recipe) == quantized_key_; }

  /// Returns DiagnosticInput::full for the last model().  Built at every call.
  Llama full(const Quantization& quantization) const { return folded(prepare(quantization.plan, rescaled_), found_); }
  /// Returns what calibration found for the last model().
  const TensorMap& found() const { return found_; }

 private:
  RopeTable calibration_table(const Recipe& recipe) const;
  TensorMap calibrated(const Recipe& recipe, const Llama& prepared);
  std::string key_of(const Recipe& recipe) const;
  std::string build_key(at::ScalarType dtype, const at::Device& device) const;
  void forget_quantized();
  const Checkpoint& checkpoint(const Job& job);

  /// A checkpoint that stays open until another is requested.
  struct Source {
    CheckpointSpec spec;
    std::unique_ptr<Checkpoint> checkpoint;
    std::string hash;

    bool is(const CheckpointSpec& other) const { return checkpoint != nullptr && spec == other; }
    void open(const CheckpointSpec& of);
    /// Closes a checkpoint whose files have changed.
    void close_changed();
  };
  const Checkpoint& reference_checkpoint(const ReferenceSpec& spec);

  bool streamed_ = false;
  Source source_, reference_source_;
  std::string full_key_, quantized_key_, reference_key_;
  Llama full_, rescaled_, quantized_, reference_;
  TensorMap found_;                              ///< from the calibration of quantized_
  std::optional<CalibrationCache> calibration_;  ///< that found_ is of
};

}  // namespace qroar
