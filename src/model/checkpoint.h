// A Hugging Face folder (config.json and safetensors) opened for reading, and the model built from it in a dtype on a
// device.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>

#include "config/config.h"
#include "model/llama.h"
#include "model/safetensors.h"

namespace qroar {

/// The key `path` of a block that names a Hugging Face folder; an Error at its place where there is none.
std::filesystem::path model_folder(const Config& block);
/// The key `dtype` of such a block.
at::ScalarType weight_dtype(const Config& block, at::ScalarType fallback);

/// The YAML block `model`.
struct ModelSpec {
  std::filesystem::path path;
  at::ScalarType dtype = at::kBFloat16;
  std::string device = "auto";
  bool bfloat16_rope =
      false;  ///< rope_dtype: bfloat16 rounds positions and frequencies to bfloat16 first, as module.to(bfloat16) does

  ModelSpec() = default;
  /// Reads path (required), dtype (bfloat16), device (auto), rope_dtype (float32).
  explicit ModelSpec(const Config& config);
};

class Checkpoint {
 public:
  /// Maps the weights; nothing is copied yet.
  explicit Checkpoint(const std::filesystem::path& folder);

  const LlamaConfig& config() const { return config_; }
  /// Hash of config.json and of all weight bytes.
  std::string hash() const;

  /// The full-precision model.  On the CPU in the stored dtype its tensors are views of the mapped files, which they
  /// keep alive.
  Llama build(at::ScalarType dtype, const at::Device& device) const;

 private:
  at::Tensor tensor(const std::string& name, at::IntArrayRef shape) const;

  std::filesystem::path folder_;
  LlamaConfig config_;
  SafetensorsCheckpoint files_;
};

}  // namespace qroar
