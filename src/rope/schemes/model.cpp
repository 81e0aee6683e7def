// What the model's own config.json asks for, built as one of the other schemes (model/config_rope.h reads the file).
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class Model : public RopeScheme {
 public:
  explicit Model(const Config&) {}

  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    constexpr const char* kOriginal = "original_max_position_embeddings";
    Json block = geometry.model_rope.is_null() ? Json{{"type", "none"}} : geometry.model_rope;
    RopeGeometry own = geometry;
    if (block.contains(kOriginal)) {
      own.trained_length = block[kOriginal];
      block.erase(kOriginal);
    }
    const Config config = Config::parse(block.dump(1), "config.json's RoPE");
    return Registry<RopeScheme>::instance().build(config)->table(own, length);
  }
};

const Register<RopeScheme, Model> kModel{
    "model", "what the model's config.json says, which is plain RoPE where it says nothing: the default",
    "{type: model}"};

}  // namespace
}  // namespace qroar
