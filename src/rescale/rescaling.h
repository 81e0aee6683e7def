// The interface of a rescaling: a change, per pair of channels, between a model's RoPE scheme and its quantization
// (docs/method.md 4; the definitions are this project's, since the papers do not publish theirs).
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

  /// Called first: takes the model's shape and throws an Error, with its place, for an option that does not fit it.
  virtual void bind(const LlamaConfig& config) = 0;
  /// Throws an Error when the rescaling was made for another checkpoint; `hash` is the checkpoint's.
  virtual void check_checkpoint(const std::string& /*hash*/) const {}

  /// Returns the table that is evaluated instead of the scheme's.  `full`: the model before any change.
  virtual RopeTable table(const RopeTable& scheme, const RopeGeometry& /*geometry*/, const Llama& /*full*/) const {
    return scheme;
  }

  /// Returns whether table() may return another table; known before there is a model.
  virtual bool changes_table() const { return false; }

  /// Replaces weights of a view of the full-precision model.
  virtual void apply(Llama& /*model*/) const {}

  /// Returns what apply() depends on; null where it does nothing, or where scales are still to be found.  Used as a
  /// cache key for weights and calibrations.
  virtual Json weights_key() const { return nullptr; }

  /// Returns the bands whose scales a search determines, complete after bind(); null where all scales are given.
  virtual const BandLayout* unscaled_bands() const { return nullptr; }
};

/// The scheme whose tables are evaluated: a cell's scheme, rescaled.  Its s is the scheme's own; a factor of the
/// rescaling is a constant beside it, since it takes the cell's geometry wherever the scheme is stretched.
class RescaledScheme : public RopeScheme {
 public:
  RescaledScheme(const RopeScheme& scheme, const Rescaling& rescaling, const RopeGeometry& geometry, const Llama& full)
      : scheme_(scheme), rescaling_(rescaling), geometry_(geometry), full_(full) {}
  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    return rescaling_.table(scheme_.table(geometry, length), geometry_, full_);
  }

 private:
  const RopeScheme& scheme_;
  const Rescaling& rescaling_;
  const RopeGeometry& geometry_;
  const Llama& full_;  ///< the model before any change
};

}  // namespace qroar
