// Phi-3, Phi-3.5 and Phi-4-mini: q, k and v in one tensor, gate and up in another; LongRoPE, over a part of each head
// in Phi-4-mini.
#include "model/family.h"

namespace qroar {
namespace {

class Phi3 : public Family {
 public:
  explicit Phi3(const Config&) {}

  void complete(Json& json) const override {
    if (!json.contains("rms_norm_eps")) json["rms_norm_eps"] = 1e-5;
    for (const char* name : {"rope_scaling", "rope_parameters"}) {
      if (!json.contains(name) || !json[name].is_object()) continue;
      Json& rope = json[name];
      const char* key = rope.contains("rope_type") ? "rope_type" : "type";
      const Json type = rope.value(key, Json("default"));
      if (type == "yarn") rope[key] = "longrope";  // as transformers reads the first files of Phi-3
      if (type != "default" && !json.contains(kOriginal)) json[kOriginal] = 4096;
    }
  }
  void read(const ConfigFields& fields, LlamaConfig& config) const override { read_window_of_all(fields, config); }
  std::vector<std::string_view> keys() const override { return {"sliding_window", kPartialRotary}; }

  bool takes_rope_type(std::string_view type) const override { return type == "longrope"; }

  std::optional<StoredRows> stored_in(const LlamaConfig& config, std::string_view name) const override {
    const int64_t queries = config.num_attention_heads * config.head_dim,
                  keys = config.num_key_value_heads * config.head_dim, all = queries + 2 * keys;
    constexpr const char *kQkv = "self_attn.qkv_proj", *kGateUp = "mlp.gate_up_proj";
    const int64_t gates = config.intermediate_size;
    if (name == "self_attn.q_proj") return StoredRows{kQkv, 0, queries, all};
    if (name == "self_attn.k_proj") return StoredRows{kQkv, queries, keys, all};
    if (name == "self_attn.v_proj") return StoredRows{kQkv, queries + keys, keys, all};
    if (name == "mlp.gate_proj") return StoredRows{kGateUp, 0, gates, 2 * gates};
    if (name == "mlp.up_proj") return StoredRows{kGateUp, gates, gates, 2 * gates};
    return std::nullopt;
  }

 private:
  static constexpr const char* kOriginal = "original_max_position_embeddings";
};

const Register<Family, Phi3> kPhi3{
    "phi3", "Phi-3, Phi-3.5 and Phi-4-mini (arXiv 2404.14219): fused tensors, LongRoPE, partly rotated heads",
    "{type: phi3}"};

}  // namespace
}  // namespace qroar
