// RoPE as an exported config.json says it: in the type that says the scheme, else as longrope, whose divisors say any
// table.
#pragma once
#include <functional>
#include <map>

#include "rope/scheme.h"

namespace qroar {

/// What a model is evaluated with.
struct EvaluatedRope {
  const RopeScheme& scheme;
  RopeGeometry geometry;                ///< target_length: of the windows
  int64_t intended_length;              ///< max_position_embeddings, where windows are no longer
  std::map<int64_t, RopeTable> tables;  ///< by length, rescaled, at lengths that tell schemes apart

  EvaluatedRope(const RopeScheme& own_scheme, const RopeGeometry& own_geometry, int64_t length,
                const std::function<RopeTable(int64_t)>& table);

  /// Rescaled tables with one attention factor that differ at most between lengths up to the trained one and beyond.
  bool fits_longrope() const;
};

/// rope_theta, max_position_embeddings and, where they are needed, rope_scaling and original_max_position_embeddings.
/// A table that is not the scheme's own, or that no type says, becomes longrope, which it must fit.
Json exported_rope(const EvaluatedRope& rope);

}  // namespace qroar
