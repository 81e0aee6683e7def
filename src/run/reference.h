// The YAML block `reference`: another checkpoint, unmodified, that metrics compare with instead of the evaluated model
// in full precision.
#pragma once
#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"
#include "rope/scheme.h"

namespace qroar {

struct ReferenceSpec : CheckpointSpec {
  LlamaConfig llama;
  at::ScalarType dtype;
  std::shared_ptr<const RopeScheme> rope;
  RopeGeometry geometry;

  /// Reads path (required), ignore_tensors, dtype (default: the model's) and rope (default: `evaluated`, where `auto`
  /// uses the reference's own trained length).  `model`: the evaluated one.  Throws an Error with its place, also for a
  /// checkpoint with another vocabulary or tokenizer.
  ReferenceSpec(const Config& block, const ModelSpec& model, const LlamaConfig& llama, const Config& evaluated,
                int64_t window);

  RopeTable table(int64_t length) const { return rope->table(geometry, length); }
};

}  // namespace qroar
