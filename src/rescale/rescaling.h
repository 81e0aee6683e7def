// The interface of a rescaling: what is changed between a model's RoPE scheme and its quantization, per pair of
// channels (docs/method.md 4; the definitions are this project's, since the papers' own are not available).
#pragma once
#include "config/registry.h"
#include "model/llama.h"
#include "rope/scheme.h"

namespace qroar {

struct BandLayout;

class Rescaling {
 public:
  static constexpr const char* kKind = "rescaling";
  virtual ~Rescaling() = default;

  /// Comes before everything else: takes the model's shape and throws an Error with the place of what does not suit it.
  virtual void bind(const LlamaConfig& config) = 0;
  /// Throws an Error when it was made for another checkpoint; `hash` is the checkpoint's.
  virtual void check_checkpoint(const std::string& /*hash*/) const {}

  /// The table that is evaluated instead of the scheme's.  `full`: the model before anything is done to it.
  virtual RopeTable table(const RopeTable& scheme, const RopeGeometry& /*geometry*/, const Llama& /*full*/) const {
    return scheme;
  }

  /// May table() give another one?  Known before there is a model.
  virtual bool changes_table() const { return false; }

  /// Replaces weights of a view of the full-precision model.
  virtual void apply(Llama& /*model*/) const {}

  /// What apply() depends on; null where it does nothing, or scales are yet to be found.  Weights and calibrations are
  /// cached under it.
  virtual Json weights_key() const { return nullptr; }

  /// The bands whose scales are left to a search, complete after bind(); null where all scales are given.
  virtual const BandLayout* unscaled_bands() const { return nullptr; }
};

}  // namespace qroar
