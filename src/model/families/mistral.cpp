// Mistral: a Llama with a sliding window, or without one (null) since v0.2; with layer_types transformers reads it as
// Ministral.
#include "model/family.h"

namespace qroar {
namespace {

class Mistral : public Family {
 public:
  explicit Mistral(const Config&) {}

  void complete(Json& json) const override {
    if (!json.contains("sliding_window")) json["sliding_window"] = 4096;
  }
  void read(const ConfigFields& fields, LlamaConfig& config) const override {
    read_layer_types(fields, sliding_window(fields), 0, config);
  }
  std::vector<std::string_view> keys() const override { return {"sliding_window", "layer_types"}; }
};

const Register<Family, Mistral> kMistral{
    "mistral", "Mistral (Jiang et al., arXiv 2310.06825): a sliding window in every layer, or none", "{type: mistral}"};

}  // namespace
}  // namespace qroar
