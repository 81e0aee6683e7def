// Names of sites in the model, which are Hugging Face's module names ("layers.3.mlp.up_proj"), and globs over them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "model/llama_config.h"

namespace qroar {

/// A linear layer: its name and the shape of its weight.
struct LinearSite {
  std::string name;
  int64_t rows = 0;     ///< output features
  int64_t columns = 0;  ///< input features
  /// Channels of a head, where outputs are heads that RoPE rotates wholly (q_proj, k_proj): channels i and
  /// i + head_dim / 2 of each are pair i.  Elsewhere 0.
  int64_t head_dim = 0;
};

/// Returns "layers.3." of "layers.3.mlp.up_proj", and nothing of a name that is in no layer.
std::string layer_of(std::string_view site);
/// Returns the rest: "mlp.up_proj".
std::string name_in_layer(std::string_view site);

/// Returns whether a linear layer of the decoder has a bias.
bool has_bias(const LlamaConfig& config, std::string_view site);

/// Returns all linear layers of the decoder in forward order, then lm_head.
std::vector<LinearSite> linear_sites(const LlamaConfig& config);

/// Returns whether the glob matches the complete name: `*` matches any run of characters, `?` one, `{a,b}` either text.
/// Throws an Error for unbalanced braces.
bool glob_matches(std::string_view glob, std::string_view name);

}  // namespace qroar
