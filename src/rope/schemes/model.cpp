// The RoPE of the model's own config.json, built as one of the other schemes (model/config_rope.h reads the file).
#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

class Model : public RopeScheme {
 public:
  explicit Model(const Config&) {}

  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    const auto scheme = scheme_of(geometry);
    if (!scheme->hugging_face(own(geometry))) {
      fail(
          "config.json: YaRN's ramp runs backwards for a model of {} tokens, as transformers computes it; name a "
          "scheme "
          "in the experiment's `rope`",
          own(geometry).trained_length);
    }
    return scheme->table(own(geometry), length);
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    return scheme_of(geometry)->hugging_face(own(geometry));
  }

 private:
  static constexpr const char* kOriginal = "original_max_position_embeddings";

  /// Returns the geometry with the length that the formula of config.json's type uses as L0.
  static RopeGeometry own(RopeGeometry geometry) {
    geometry.trained_length = geometry.model_rope.value(kOriginal, geometry.trained_length);
    return geometry;
  }
  static std::unique_ptr<RopeScheme> scheme_of(const RopeGeometry& geometry) {
    Json block = geometry.model_rope;
    block.erase(kOriginal);
    return Registry<RopeScheme>::instance().build(Config::parse(block.dump(1), "config.json's RoPE"));
  }
};

const Register<RopeScheme, Model> kModel{
    "model", "what the model's config.json says, which is plain RoPE where it says nothing: the default",
    "{type: model}"};

}  // namespace
}  // namespace qroar
