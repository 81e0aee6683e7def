// Opens a Hugging Face folder (config.json and safetensors) and builds the model from it in a dtype on a device.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/model_spec.h"
#include "checkpoint/safetensors.h"
#include "model/family.h"
#include "model/llama.h"

namespace qroar {

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
