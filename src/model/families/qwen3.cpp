// Qwen3: queries and keys are normed per head.
#include "model/family.h"

namespace qroar {
namespace {

class Qwen3 : public Family {
 public:
  explicit Qwen3(const Config&) {}

  void complete(Json& json) const override {
    if (!json.contains("head_dim") || json["head_dim"].is_null()) json["head_dim"] = 128;
    if (!json.contains("bos_token_id")) json["bos_token_id"] = nullptr;
    if (!json.contains("sliding_window")) json["sliding_window"] = 4096;
  }
  void read(const ConfigFields& fields, LlamaConfig& config) const override {
    config.qkv_bias = config.o_bias = fields.boolean("attention_bias", false);
    config.qk_norm = true;
    read_qwen_windows(fields, config);
  }
  std::vector<std::string_view> keys() const override {
    return {"attention_bias", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types"};
  }
};

const Register<Family, Qwen3> kQwen3{"qwen3", "Qwen3 (arXiv 2505.09388): queries and keys normed per head",
                                     "{type: qwen3}"};

}  // namespace
}  // namespace qroar
