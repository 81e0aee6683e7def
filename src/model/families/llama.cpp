// Llama 1 to 3, and what is saved in its form: Vicuna, TinyLlama, SmolLM2, Yi, Falcon 3.
#include "model/family.h"

namespace qroar {
namespace {

class LlamaFamily : public Family {
 public:
  explicit LlamaFamily(const Config&) {}

  void read(const ConfigFields& fields, LlamaConfig& config) const override {
    read_biases(fields, config);
    // transformers ignores the key in a Llama; other readers do not.
    if (fields.boolean("use_sliding_window", true) && fields.has("sliding_window"))
      config.doubtful_window = fields.integer("sliding_window", {}, 1, kMaxPositions);
    if (config.partial_rotary_factor != 1) {
      config.warnings.push_back(
          fmt::format("config.json: partial_rotary_factor {}: RoPE rotates the first {} channels of {}, as vLLM does; "
                      "transformers ignores the key in a model of type llama",
                      config.partial_rotary_factor, config.rotary_dim(), config.head_dim));
    }
  }
  std::vector<std::string_view> keys() const override {
    return {"attention_bias", "mlp_bias", "sliding_window", "use_sliding_window", kPartialRotary};
  }
};

const Register<Family, LlamaFamily> kLlama{
    "llama",
    "Llama (Touvron et al., arXiv 2307.09288) and models in its form: Vicuna, TinyLlama, SmolLM2, Yi, Falcon 3",
    "{type: llama}"};

}  // namespace
}  // namespace qroar
