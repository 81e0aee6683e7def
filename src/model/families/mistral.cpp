// Mistral: a Llama with a sliding window, or without one (null) since v0.2.
#include "model/family.h"

namespace qroar {
namespace {

class Mistral : public Family {
 public:
  explicit Mistral(const Config&) {}

  void complete(Json& json) const override {
    if (!json.contains("sliding_window")) json["sliding_window"] = 4096;
  }
  void read(const ConfigFields& fields, LlamaConfig& config) const override { read_window_of_all(fields, config); }
  std::vector<std::string_view> keys() const override { return {"sliding_window"}; }
};

const Register<Family, Mistral> kMistral{
    "mistral", "Mistral (Jiang et al., arXiv 2310.06825): a sliding window in every layer, or none", "{type: mistral}"};

}  // namespace
}  // namespace qroar
