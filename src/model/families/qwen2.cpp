// Qwen2 and Qwen2.5: biases of q, k and v; a sliding window from layer max_window_layers on where it is used.
#include "model/family.h"

namespace qroar {
namespace {

class Qwen2 : public Family {
 public:
  explicit Qwen2(const Config&) {}

  void complete(Json& json) const override {
    if (!json.contains("bos_token_id")) json["bos_token_id"] = nullptr;
    if (!json.contains("sliding_window")) json["sliding_window"] = 4096;
  }
  void read(const ConfigFields& fields, LlamaConfig& config) const override {
    config.qkv_bias = true;
    read_qwen_windows(fields, config);
  }
  std::vector<std::string_view> keys() const override {
    return {"sliding_window", "use_sliding_window", "max_window_layers", "layer_types"};
  }
};

const Register<Family, Qwen2> kQwen2{
    "qwen2", "Qwen2 and Qwen2.5 (arXiv 2412.15115): biases of q, k and v, layers with a sliding window",
    "{type: qwen2}"};

}  // namespace
}  // namespace qroar
