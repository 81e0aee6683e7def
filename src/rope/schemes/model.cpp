// What the model's own config.json asks for: its rope_scaling (or rope_parameters) built as one of the other schemes.
#include <spdlog/spdlog.h>

#include <set>

#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

/// Hugging Face's rope types and ours.
const std::map<std::string, std::string> kTypes = {
    {"default", "none"},      {"linear", "linear"}, {"dynamic", "dynamic_ntk"}, {"yarn", "yarn"},
    {"longrope", "longrope"}, {"su", "longrope"},   {"llama3", "llama3"}};

/// Keys whose values reach the scheme in the geometry.
const std::set<std::string> kInGeometry = {"rope_theta", "partial_rotary_factor", "original_max_position_embeddings"};

std::string scheme_name(const Json& scaling) {
  const Json type = scaling.value("rope_type", scaling.value("type", Json("default")));
  const auto found = type.is_string() ? kTypes.find(type.get<std::string>()) : kTypes.end();
  if (found != kTypes.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [name, ours] : kTypes) known.push_back(name);
  fail("config.json: rope_scaling: unknown rope_type {}; known are {}; or name a scheme in the experiment", type.dump(),
       fmt::join(known, ", "));
}

class Model : public RopeScheme {
 public:
  explicit Model(const Config&) {}

  RopeTable table(const RopeGeometry& geometry, int64_t length) const override {
    return written_scheme(geometry)->table(geometry, length);
  }
  std::optional<Json> hugging_face(const RopeGeometry& geometry) const override {
    return written_scheme(geometry)->hugging_face(geometry);
  }

 private:
  static std::unique_ptr<RopeScheme> written_scheme(const RopeGeometry& geometry) {
    const Json written = Json::parse(geometry.model_scaling.empty() ? "{}" : geometry.model_scaling, nullptr, false);
    check(written.is_object(), "model_scaling is a JSON object");
    Json scaling = {{"type", scheme_name(written)}};
    for (const auto& [key, value] : written.items()) {
      if (key != "type" && key != "rope_type" && !value.is_null()) scaling[key] = value;
    }
    const Config config = Config::parse(scaling.dump(1), "config.json's rope_scaling");
    auto scheme = Registry<RopeScheme>::instance().build(config);
    warn_of_unread(scaling, config.resolved());
    return scheme;
  }

  /// Published models carry keys that change nothing ("finetuned": true), so that an error would shut them out.
  static void warn_of_unread(const Json& scaling, const Json& read) {
    for (const auto& [key, value] : scaling.items()) {
      const bool used = read.contains(key) || kInGeometry.contains(key);
      if (!used) spdlog::warn("config.json: rope_scaling: '{}' is not used", key);
    }
  }
};

const Register<RopeScheme, Model> kModel{
    "model", "what the model's config.json says in rope_scaling or rope_parameters", "{type: model}"};

}  // namespace
}  // namespace qroar
