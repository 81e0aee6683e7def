// Granite 3: constant factors of embeddings, residual branches, attention scores and logits.
#include "model/family.h"

namespace qroar {
namespace {

class Granite : public Family {
 public:
  explicit Granite(const Config&) {}

  void read(const ConfigFields& fields, LlamaConfig& config) const override {
    constexpr double kMost = 1e6;
    read_biases(fields, config);
    config.embedding_multiplier = fields.number("embedding_multiplier", 1, 0, kMost);
    config.residual_multiplier = fields.number("residual_multiplier", 1, 0, kMost);
    config.logits_scaling = fields.number("logits_scaling", 1, 0, kMost);
    const double scaling = fields.number("attention_multiplier", 1, 0, kMost);
    for (LayerConfig& layer : config.layers) layer.attention.scaling = scaling;
  }
  std::vector<std::string_view> keys() const override {
    return {"attention_bias",      "mlp_bias",       "embedding_multiplier",
            "residual_multiplier", "logits_scaling", "attention_multiplier"};
  }
};

const Register<Family, Granite> kGranite{
    "granite", "Granite 3 (IBM 2024): multipliers of embeddings, residual branches, attention scores and logits",
    "{type: granite}"};

}  // namespace
}  // namespace qroar
