// The checkpoint and the last models built from it: the runner orders cells so that neighbours share them.
#pragma once
#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "run/job.h"

namespace qroar {

/// How a model is made of a job's checkpoint.
struct Recipe {
  const Job& job;
  const Rescaling& rescaling;  ///< comes first
  const Quantization& quantization;
  const CalibrationText* text;  ///< what its quantizers look at; null where they do not
};

class Models {
 public:
  /// Before a cell: checkpoints whose files have changed are opened again when they are asked for.
  void close_changed();
  /// An Error where the job was read from another config.json than the one that lies there now.
  void check_config(const Job& job);
  /// After a cell: an Error where a file has changed since.
  void check_unchanged(const Job& job);

  /// Hash of the job's checkpoint.
  const std::string& hash(const Job& job);

  /// The checkpoint's model with nothing done to it.
  const Llama& original(const Job& job, const at::Device& device);

  /// The same of the checkpoint that a job's metrics compare with.
  const std::string& reference_hash(const ReferenceSpec& spec);
  const Llama& reference(const ReferenceSpec& spec, const at::Device& device);

  /// The model that a recipe makes.  Full-precision weights are shared with the last one where checkpoint, dtype and
  /// device are the same; all of it where rescaling and quantization are the same, too.
  const Llama& model(const Recipe& recipe, const at::Device& device);

  /// What DiagnosticInput::full asks for, of the last model().  Built at every call.
  Llama full(const Quantization& quantization) const { return folded(prepare(quantization.plan, rescaled_), found_); }
  /// What calibration found for the last model().
  const TensorMap& found() const { return found_; }

 private:
  RopeTable calibration_table(const Recipe& recipe) const;
  TensorMap calibrated(const Recipe& recipe, const Llama& prepared) const;
  std::string key_of(const Recipe& recipe) const;
  void forget_quantized();
  const Checkpoint& checkpoint(const Job& job);

  /// A checkpoint that stays open until another is asked for.
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

  Source source_, reference_source_;
  std::string full_key_, quantized_key_, reference_key_;
  Llama full_, rescaled_, quantized_, reference_;
  TensorMap found_;  ///< by the calibration of quantized_
};

}  // namespace qroar
