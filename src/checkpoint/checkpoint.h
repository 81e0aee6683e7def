// Opens a Hugging Face folder (config.json and safetensors) and builds the model from it in a dtype on a device.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "config/config.h"
#include "model/family.h"
#include "model/llama.h"

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

/// The YAML block `model`.
enum class LayerWeights {
  resident,
  streamed,   ///< a layer's weights are read, changed and dropped as windows go through it together
  automatic,  ///< streamed where resident weights do not fit
};

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

/// How many weights a model reads, by the dtype in which they are stored.
using WeightCounts = std::map<at::ScalarType, int64_t>;
int64_t all_of(const WeightCounts& counts);

class Checkpoint {
 public:
  /// Maps the weights without copying them.  Throws an Error where a tensor that the model needs is missing or has a
  /// wrong shape or dtype, and where the model does not read a tensor that spec.ignore_tensors does not name.
  explicit Checkpoint(const CheckpointSpec& spec);
  explicit Checkpoint(const std::filesystem::path& folder) : Checkpoint(CheckpointSpec(folder)) {}

  const LlamaConfig& config() const { return config_; }
  /// Returns the hash of config.json and of all weight bytes.
  std::string hash() const;
  /// Throws an Error where a file has changed since it was opened.
  void check_unchanged() const;
  /// Returns the numbers of weights in all tensors that the model reads.
  const WeightCounts& weights() const { return weights_; }

  /// Builds the full-precision model.  On the CPU and in the stored dtype its tensors are views of the mapped files,
  /// which they keep alive.  Where it is `streamed`, the layers' weights are made when a layer is used, for as long as
  /// this checkpoint exists.
  Llama build(at::ScalarType dtype, const at::Device& device, bool streamed = false) const;

 private:
  /// Returns the tensor with a name and shape, or some of its rows where they are part of a larger one.
  using Load = std::function<at::Tensor(const std::string& name, at::IntArrayRef shape, const StoredRows* rows)>;
  Llama assemble(const Load& load, bool streamed) const;
  /// Returns the tensors of a module and of those in it: "layers.3.".
  std::vector<TensorView> views_of(const std::string& module) const;
  const TensorView& view(const std::string& name, at::IntArrayRef shape) const;
  void check_all_read(const std::set<std::string>& read) const;

  CheckpointSpec spec_;
  LlamaConfig config_;
  SafetensorsCheckpoint files_;
  std::string prefix_;  ///< of all names except the head's; empty for a model saved without its head
  WeightCounts weights_;
};

}  // namespace qroar
