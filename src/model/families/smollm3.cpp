// SmolLM3: layers without RoPE, by default every fourth.
#include <algorithm>

#include "model/family.h"

namespace qroar {
namespace {

class SmolLm3 : public Family {
 public:
  explicit SmolLm3(const Config&) {}

  void complete(Json& json) const override {
    const auto set = [&](const char* name, const Json& value) {
      if (!json.contains(name)) json[name] = value;
    };
    set("tie_word_embeddings", true);
    set("bos_token_id", 128000);
    set("num_key_value_heads", 4);
    const auto states_theta = [&](const char* name) {
      return json.contains(name) && json[name].is_object() && json[name].contains("rope_theta");
    };
    if (!states_theta("rope_parameters") && !states_theta("rope_scaling")) set("rope_theta", 2e6);
  }
  void read(const ConfigFields& fields, LlamaConfig& config) const override {
    read_biases(fields, config);
    const std::vector<int64_t> rotated = fields.integers(kLayers);
    if (fields.has(kLayers) && std::ssize(rotated) != config.num_hidden_layers)
      fields.wrong(kLayers, fmt::format("1 or 0 for each of {} layers", config.num_hidden_layers));
    const int64_t interval = fields.integer("no_rope_layer_interval", 4, 1, kMaxPositions);
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      config.layers[i].rope = rotated.empty() ? (static_cast<int64_t>(i) + 1) % interval != 0 : rotated[i] != 0;
    }
    const std::optional<int64_t> window = used_sliding_window(fields);
    if (fields.has("layer_types")) return read_layer_types(fields, window, 0, config);
    for (LayerConfig& layer : config.layers) {
      if (!layer.rope) layer.attention.sliding_window = window.value_or(0);
    }
  }
  std::vector<std::string_view> keys() const override {
    return {"attention_bias",         "mlp_bias",   "sliding_window", "use_sliding_window", kLayers,
            "no_rope_layer_interval", "layer_types"};
  }

 private:
  static constexpr const char* kLayers = "no_rope_layers";
};

const Register<Family, SmolLm3> kSmolLm3{"smollm3", "SmolLM3 (Hugging Face 2025): every fourth layer without RoPE",
                                         "{type: smollm3}"};

}  // namespace
}  // namespace qroar
