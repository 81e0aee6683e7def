// The checkpoint and the last models built from it: the runner orders cells so that neighbours share them.
#pragma once
#include <memory>
#include <string>

#include "harness/job.h"
#include "model/checkpoint.h"

namespace qroar {

class Models {
 public:
  /// Hash of the job's checkpoint.
  const std::string& hash(const Job& job);

  /// The job's model, quantized as it says; `text` is what its quantizers look at, null where they do not.
  /// Full-precision weights are shared with the last job where checkpoint, dtype and device are the same; all of it
  /// where the quantization is the same, too.
  const Llama& model(const Job& job, const at::Device& device, const CalibrationText* text);

 private:
  TensorMap calibrated(const Job& job, const Llama& prepared, const CalibrationText& text) const;
  const Checkpoint& checkpoint(const Job& job);

  std::filesystem::path path_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::string hash_, full_key_, quant_key_;
  Llama full_, quantized_;
};

}  // namespace qroar
