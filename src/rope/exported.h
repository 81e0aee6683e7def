// RoPE in an exported config.json: as the rope_type of the scheme if there is one, else as longrope, whose divisors can
// express any table.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string_view>

#include "rope/scheme.h"

namespace qroar {

/// The RoPE that a model is evaluated with.
struct EvaluatedRope {
  const RopeScheme& scheme;
  RopeGeometry geometry;                ///< target_length is the length of the windows
  int64_t intended_length;              ///< max_position_embeddings, unless windows are longer
  std::map<int64_t, RopeTable> tables;  ///< by length, rescaled, at lengths that distinguish schemes
  /// Returns whether the model's readers take a rope_type, in addition to longrope.
  std::function<bool(std::string_view)> takes_type = [](std::string_view) { return true; };

  EvaluatedRope(const RopeScheme& own_scheme, const RopeGeometry& own_geometry, int64_t length,
                const std::function<RopeTable(int64_t)>& table);

  /// Returns the fields with which the readers compute the scheme's own table; nothing where they cannot.
  std::optional<Json> said() const;
  /// Returns whether the rescaled tables have one attention factor and differ at most between lengths up to the trained
  /// length and longer ones.
  bool fits_longrope() const;
};

/// Returns rope_theta, max_position_embeddings and, where needed, rope_scaling and original_max_position_embeddings.
/// A table that differs from the scheme's, or that no other type can express, becomes longrope, which it must fit.
Json exported_rope(const EvaluatedRope& rope);

}  // namespace qroar
