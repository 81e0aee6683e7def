// What must be true of every RoPE that this program reads, builds or exports.
#pragma once
#include <cmath>

#include "config/registry.h"
#include "fuzz.h"
#include "model/llama_config.h"
#include "rope/exported.h"
#include "rope/pressure.h"
#include "rope/scheme.h"

namespace qroar {

inline void check_table(const RopeTable& table, const RopeGeometry& geometry) {
  must(std::ssize(table.inv_freq) == geometry.rotary_dim / 2, "a frequency for each pair");
  for (const double frequency : table.inv_freq) {
    must(std::isfinite(frequency) && frequency >= 0, fmt::format("the frequency {}", frequency));
  }
  must(std::isfinite(table.attention_factor) && table.attention_factor > 0,
       fmt::format("the attention factor {}", table.attention_factor));
}

inline bool are_close(const RopeTable& a, const RopeTable& b) {
  const auto close = [](double x, double y) { return std::abs(x - y) <= 1e-9 * std::max(std::abs(x), std::abs(y)); };
  bool all = close(a.attention_factor, b.attention_factor) && a.inv_freq.size() == b.inv_freq.size();
  for (std::size_t i = 0; all && i < a.inv_freq.size(); ++i) all = close(a.inv_freq[i], b.inv_freq[i]);
  return all;
}

/// Checks the tables of a scheme, its derivatives, and that an exported config.json gives the same tables again.
inline void check_rope(const RopeScheme& scheme, const RopeGeometry& geometry) {
  const auto table = [&](int64_t length) { return scheme.table(geometry, length); };
  const EvaluatedRope evaluated(scheme, geometry, geometry.target_length, table);
  for (const auto& [length, known] : evaluated.tables) {
    check_table(known, geometry);
    const auto pressures = interpolation_pressure(scheme, geometry, length, 1000);
    for (const double pressure : pressures) must(pressure >= 0, fmt::format("the pressure {}", pressure));
  }
  if (!scheme.hugging_face(geometry) && !evaluated.fits_longrope()) return;
  Json config{{"architectures", {"LlamaForCausalLM"}},
              {"model_type", "llama"},
              {"hidden_size", geometry.rotary_dim},
              {"intermediate_size", 8},
              {"num_hidden_layers", 1},
              {"num_attention_heads", 1},
              {"vocab_size", 8}};
  config.update(exported_rope(evaluated));
  scratch().write("exported/config.json", config.dump());
  const LlamaConfig again = LlamaConfig::load(scratch().folder() / "exported");
  RopeGeometry read = again.rope_geometry(geometry.target_length);
  const auto model = Registry<RopeScheme>::instance().build(block_of("{type: model}"));
  for (const auto& [length, known] : evaluated.tables) {
    must(are_close(model->table(read, length), known),
         fmt::format("the export at length {}: {}", length, config.dump()));
  }
}

}  // namespace qroar
