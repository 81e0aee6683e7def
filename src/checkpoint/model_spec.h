// What an experiment says about a model: its Hugging Face folder, dtype, device, and where its weights are kept.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "model/llama_config.h"

namespace qroar {

/// Reads the key `path` of a block that names a Hugging Face folder.  Throws an Error at its place where there is none.
std::filesystem::path model_folder(const Config& block);

/// A Hugging Face folder and the tensors in it that may remain unread: the keys `path` and `ignore_tensors` of a block.
struct CheckpointSpec {
  std::filesystem::path path;
  std::vector<std::string> ignore_tensors;  ///< globs of tensors that the user knows are not part of the model

  CheckpointSpec() = default;
  explicit CheckpointSpec(std::filesystem::path folder) : path(std::move(folder)) {}
  explicit CheckpointSpec(const Config& block);
  bool operator==(const CheckpointSpec&) const = default;
};

enum class LayerWeights {
  resident,
  streamed,   ///< a layer's weights are read, changed and dropped as windows go through it together
  automatic,  ///< streamed where resident weights do not fit
};

/// The YAML block `model`.
struct ModelSpec : CheckpointSpec {
  /// The dtype of the computation.  `auto` is the checkpoint's own: that of config.json, else that of the embeddings;
  /// float16 becomes float32 on a CPU without float16 arithmetic.
  at::ScalarType dtype = at::kFloat;
  std::string device = "auto";
  LayerWeights weights = LayerWeights::automatic;  ///< changes no number
  bool bfloat16_rope =
      false;  ///< rope_dtype: bfloat16 rounds positions and frequencies to bfloat16 first, as module.to(bfloat16) does

  ModelSpec() = default;
  /// Reads path (required), ignore_tensors ([]), device (auto), weights (auto), rope_dtype (float32), and dtype (auto).
  ModelSpec(const Config& config, const LlamaConfig& llama);
};

/// Reads the key `dtype` of a block that names a checkpoint, `fallback` ("auto", "bfloat16" ...) when absent.
at::ScalarType weight_dtype(const Config& block, const std::string& fallback, const std::filesystem::path& folder,
                            const LlamaConfig& llama, const std::string& device);
/// Returns the name that the key uses, such as "bfloat16".
std::string dtype_text(at::ScalarType dtype);

}  // namespace qroar
