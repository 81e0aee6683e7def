#include "rope/exported.h"

#include <algorithm>

#include "base/error.h"
#include "config/registry.h"

namespace qroar {
namespace {

constexpr const char* kOriginal = "original_max_position_embeddings";

/// Replaces an infinite divisor: within 2^31 tokens such a pair rotates by 1e-20 radians, so cos is 1 and sin vanishes.
/// In float32, its product with theta^(2i/d) may overflow, which results in a frequency of 0.
constexpr double kStandstillFactor = 1e30;

std::vector<double> divisors(const RopeGeometry& geometry, const RopeTable& table) {
  std::vector<double> divisors = base_frequencies(geometry.rotary_dim, geometry.theta);
  check(table.inv_freq.size() == divisors.size(), "the table is of the model's heads");
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    divisors[i] = std::min(divisors[i] / table.inv_freq[i], kStandstillFactor);
  }
  return divisors;
}

/// Returns whether the evaluated tables are those of the scheme.
bool has_tables_of(const EvaluatedRope& rope, const RopeScheme& scheme) {
  return std::ranges::all_of(
      rope.tables, [&](const auto& known) { return scheme.table(rope.geometry, known.first) == known.second; });
}

Json fields_of(const EvaluatedRope& rope) {
  const auto plain = Registry<RopeScheme>::instance().build(Config::parse("{type: none}", "export"));
  if (has_tables_of(rope, *plain)) return Json::object();
  if (has_tables_of(rope, rope.scheme)) {
    if (auto said = rope.said()) return *std::move(said);
  }
  check(rope.fits_longrope(), "the table has a type of Hugging Face's");
  const RopeGeometry& geometry = rope.geometry;
  const RopeTable& shorter = rope.tables.begin()->second;
  const RopeTable& longer = rope.tables.rbegin()->second;
  const double factor =
      std::max(1.0, static_cast<double>(geometry.target_length) / static_cast<double>(geometry.trained_length));
  return {{"rope_scaling", longrope_scaling(geometry, factor, shorter.attention_factor, divisors(geometry, shorter),
                                            divisors(geometry, longer))}};
}

}  // namespace

EvaluatedRope::EvaluatedRope(const RopeScheme& own_scheme, const RopeGeometry& own_geometry, int64_t length,
                             const std::function<RopeTable(int64_t)>& table)
    : scheme(own_scheme), geometry(own_geometry), intended_length(length) {
  const int64_t trained = geometry.trained_length, far = 8 * std::max(trained, geometry.target_length);
  for (const int64_t tokens : {int64_t{1}, trained, trained + 1, geometry.target_length, far}) {
    tables.emplace(tokens, table(tokens));
  }
}

std::optional<Json> EvaluatedRope::said() const {
  std::optional<Json> fields = scheme.hugging_face(geometry);
  if (!fields || !fields->contains("rope_scaling")) return fields;
  return takes_type((*fields)["rope_scaling"]["rope_type"].get<std::string>()) ? fields : std::nullopt;
}

bool EvaluatedRope::fits_longrope() const {
  const RopeTable& shorter = tables.begin()->second;
  const RopeTable& longer = tables.rbegin()->second;
  return shorter.attention_factor == longer.attention_factor && std::ranges::all_of(tables, [&](const auto& known) {
           return known.second == (known.first <= geometry.trained_length ? shorter : longer);
         });
}

Json exported_rope(const EvaluatedRope& rope) {
  const int64_t trained = rope.geometry.trained_length;
  Json fields{{"max_position_embeddings", std::max(rope.intended_length, rope.geometry.target_length)},
              {"rope_theta", rope.geometry.theta}};
  fields.update(fields_of(rope));
  // Types that do not depend on the trained length omit it, but another scheme may need it when the folder is read
  // again.
  const bool is_stated = fields.contains("rope_scaling") && fields["rope_scaling"].contains(kOriginal);
  if (!is_stated && fields["max_position_embeddings"] != trained) fields[kOriginal] = trained;
  return fields;
}

}  // namespace qroar
