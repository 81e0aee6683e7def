#include "model/family.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

std::unique_ptr<Family> family_of(const std::string& model_type) {
  const auto& entries = Registry<Family>::instance().entries();
  const auto found = entries.find(model_type);
  return found == entries.end() ? nullptr : found->second.make(Config::parse(found->second.example, "a family"));
}

void read_layer_types(const ConfigFields& fields, std::optional<int64_t> window, int64_t first, LlamaConfig& config) {
  constexpr const char* kName = "layer_types";
  if (fields.has(kName)) {
    const Json& types = fields.json()[kName];
    const auto is_known = [](const Json& type) { return type == "full_attention" || type == "sliding_attention"; };
    if (!types.is_array() || std::ssize(types) != config.num_hidden_layers || !std::ranges::all_of(types, is_known)) {
      fields.wrong(kName,
                   fmt::format("full_attention or sliding_attention for each of {} layers", config.num_hidden_layers));
    }
    if (!window && std::ranges::find(types, Json("sliding_attention")) != types.end())
      fields.wrong(kName, "full_attention alone, since sliding_window is null or use_sliding_window is false");
  }
  for (std::size_t i = 0; window && i < config.layers.size(); ++i) {
    const bool slides =
        fields.has(kName) ? fields.json()[kName][i] == "sliding_attention" : static_cast<int64_t>(i) >= first;
    if (slides) config.layers[i].attention.sliding_window = *window;
  }
}

std::optional<int64_t> sliding_window(const ConfigFields& fields) {
  if (!fields.has("sliding_window")) return std::nullopt;
  return fields.integer("sliding_window", {}, 1, kMaxPositions);
}

std::optional<int64_t> used_sliding_window(const ConfigFields& fields) {
  return fields.boolean("use_sliding_window", false) ? sliding_window(fields) : std::nullopt;
}

void read_qwen_windows(const ConfigFields& fields, LlamaConfig& config) {
  read_layer_types(fields, used_sliding_window(fields), fields.integer("max_window_layers", 28, 0, kMaxPositions),
                   config);
}

void read_window_of_all(const ConfigFields& fields, LlamaConfig& config) {
  for (LayerConfig& layer : config.layers) layer.attention.sliding_window = sliding_window(fields).value_or(0);
}

void read_biases(const ConfigFields& fields, LlamaConfig& config) {
  config.qkv_bias = config.o_bias = fields.boolean("attention_bias", false);
  config.mlp_bias = fields.boolean("mlp_bias", false);
}

}  // namespace qroar
