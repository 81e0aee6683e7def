#include "model/config_rope.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "model/llama_config.h"

namespace qroar {
namespace {

constexpr double kMaxTheta = 1e15;
constexpr const char* kOriginal = "original_max_position_embeddings";

/// The types of transformers and the schemes with the same formula.  `su` is the name of longrope in Phi-3's first
/// files.
const std::map<std::string, std::string> kSchemes = {
    {"default", "none"},      {"linear", "linear"}, {"dynamic", "dynamic_ntk"}, {"yarn", "yarn"},
    {"longrope", "longrope"}, {"su", "longrope"},   {"llama3", "llama3"}};

/// Returns `rope_type`, or `type` as in older files, or "default" without either.
Json type_of(const Json& dictionary) {
  if (dictionary.contains("rope_type")) return dictionary["rope_type"];
  return dictionary.value("type", Json("default"));
}

/// Returns a dictionary in canonical form: no nulls, one name for the type, sorted keys, numbers compared by value.
SortedJson meaning_of(const Json& dictionary) {
  SortedJson meaning = SortedJson::object();
  for (const auto& [key, value] : dictionary.items()) {
    if (key != "type" && key != "rope_type" && !value.is_null()) meaning[key] = SortedJson(value);
  }
  meaning["rope_type"] = SortedJson(type_of(dictionary));
  return meaning;
}

class Reader {
 public:
  Reader(const ConfigFields& fields, int64_t max_positions, std::vector<std::string>& warnings)
      : fields_(fields), max_positions_(max_positions), warnings_(warnings), rope_(dictionary()) {}

  ConfigRope read() {
    ConfigRope found;
    constexpr const char* kPartial = "partial_rotary_factor";
    found.partial_rotary_factor = rope_.number(kPartial, fields_.number(kPartial, 1, 0, 1), 0, 1);
    found.theta = theta();
    const std::string type = rope_type();
    read_lengths(type, found);
    found.scheme = scheme(type);
    if (type == "yarn" || type == "longrope" || type == "su" || type == "llama3")
      found.scheme[kOriginal] = found.trained_length;
    if (type == "dynamic") found.scheme[kOriginal] = max_positions_;
    warn_about_unused(found.scheme);
    return found;
  }

 private:
  /// If there are two dictionaries, transformers uses rope_scaling and ignores the other.
  ConfigFields dictionary() const {
    ConfigFields v4 = fields_.object("rope_scaling"), v5 = fields_.object("rope_parameters");
    if (v4.json().empty()) return v5;
    if (!v5.json().empty() && meaning(v4) != meaning(v5))
      fields_.complain("'rope_scaling' and 'rope_parameters' differ; keep one of them");
    return v4;
  }
  SortedJson meaning(const ConfigFields& dictionary) const {
    SortedJson meaning = meaning_of(dictionary.json());
    meaning.erase("rope_theta");
    meaning["rope_theta"] = theta_of(dictionary);
    return meaning;
  }

  void warn(const std::string& what) { warnings_.push_back("config.json: " + what); }

  double theta_of(const ConfigFields& dictionary) const {
    return dictionary.number("rope_theta", fields_.number("rope_theta", ConfigRope().theta, 1, kMaxTheta), 1,
                             kMaxTheta);
  }
  double theta() {
    const double outside = fields_.number("rope_theta", 0, 1, kMaxTheta), theta = theta_of(rope_);
    if (fields_.has("rope_theta") && outside != theta)
      warn(fmt::format("rope_theta is {} and {} among the RoPE parameters, which counts", outside, theta));
    return theta;
  }

  std::string rope_type() {
    const Json& json = rope_.json();
    for (const auto& [key, value] : json.items()) {
      if (value.is_object()) rope_.wrong(key, "one RoPE for all layers: parameters by layer type are not evaluated");
    }
    const Json type = type_of(json);
    if (!type.is_string() || !kSchemes.contains(type.get<std::string>())) {
      std::string known;
      for (const auto& [name, ours] : kSchemes) known += (known.empty() ? "" : ", ") + name;
      rope_.complain(fmt::format("unknown rope_type {}; known are {}; or name a scheme in the experiment's `rope`",
                                 type.dump(), known));
    }
    if (json.contains("rope_type") && json.contains("type") && json["type"] != type)
      warn(fmt::format("rope_type is {} and type {}; the former counts", type.dump(), json["type"].dump()));
    if (!json.contains("rope_type") && !json.contains("type") && has_parameters())
      warn("RoPE parameters without a rope_type: plain RoPE, as transformers reads them");
    return type;
  }
  bool has_parameters() const {
    return std::ranges::any_of(rope_.json().items(),
                               [](const auto& item) { return item.key() != "rope_theta" && !item.value().is_null(); });
  }

  /// For yarn, longrope and llama3 the original length outside the dictionary takes precedence over the one inside;
  /// linear and dynamic do not use one, and a stated length is L0 only for `factor: auto` and calibration.
  void read_lengths(const std::string& type, ConfigRope& found) {
    const int64_t inside = rope_.integer(kOriginal, max_positions_, 2, kMaxPositions);
    const int64_t outside = fields_.integer(kOriginal, inside, 2, kMaxPositions);
    found.trained_length = outside;
    if (rope_.has(kOriginal) && inside != outside)
      warn(fmt::format("{} is {} and {} among the RoPE parameters; the former counts", kOriginal, outside, inside));
    if (type == "dynamic" && found.trained_length != max_positions_) {
      warn(fmt::format("dynamic RoPE takes max_position_embeddings ({}) and not {} ({}), as transformers reads it",
                       max_positions_, kOriginal, found.trained_length));
    }
    quotient_ = static_cast<double>(max_positions_) / static_cast<double>(found.trained_length);
  }

  Json scheme(const std::string& type) {
    Json scheme = {{"type", kSchemes.at(type)}};
    if (type == "linear" || type == "dynamic" || type == "llama3") require("factor", scheme);
    if (type == "llama3") {
      for (const char* key : {"low_freq_factor", "high_freq_factor"}) require(key, scheme);
    }
    if (type == "yarn") read_yarn(scheme);
    if (type == "longrope" || type == "su") {
      if (type == "su") warn("RoPE of type su is read as longrope");
      scheme["factor"] = rope_.has("factor") ? rope_.json()["factor"] : Json(std::max(1.0, quotient_));
      for (const char* key : {"short_factor", "long_factor"}) require(key, scheme);
      if (rope_.has("attention_factor")) scheme["attention_factor"] = rope_.json()["attention_factor"];
    }
    return scheme;
  }

  void read_yarn(Json& scheme) {
    if (!rope_.json().contains("factor")) require("factor", scheme);
    scheme["factor"] = rope_.has("factor") ? rope_.json()["factor"] : Json(quotient_);
    for (const char* key : {"beta_fast", "beta_slow"}) take(key, scheme);
    // null counts as false, as in Python.
    if (rope_.json().contains("truncate")) scheme["truncate"] = rope_.boolean("truncate", false);
    if (rope_.has("attention_factor")) {
      scheme["attention_factor"] = rope_.json()["attention_factor"];
      return;
    }
    take("mscale", scheme);
    take("mscale_all_dim", scheme);
    if (scheme.contains("mscale") != scheme.contains("mscale_all_dim")) {
      scheme.erase("mscale");
      scheme.erase("mscale_all_dim");
    }
  }

  /// Copies a number that is present and not 0, which transformers treats as absent.
  void take(const char* key, Json& scheme) const {
    if (rope_.has(key) && rope_.json()[key] != 0) scheme[key] = rope_.json()[key];
  }
  void require(const char* key, Json& scheme) const {
    if (!rope_.has(key)) rope_.missing(key, "what the rope_type needs");
    scheme[key] = rope_.json()[key];
  }

  /// Warns instead of throwing, because published models have keys without effect ("finetuned": true).  Does not warn
  /// about vLLM's names for the attention factor beside attention_factor.
  void warn_about_unused(const Json& scheme) {
    static const std::set<std::string> kRead = {"type", "rope_type", "rope_theta", "partial_rotary_factor", kOriginal};
    if (!rope_.json().contains("rope_type") && !rope_.json().contains("type")) return;  // already warned about
    const Json attention = scheme.value("attention_factor", Json());
    for (const auto& [key, value] : rope_.json().items()) {
      const bool repeats = (key == "attn_factor" && !attention.is_null()) ||
                           ((key == "short_mscale" || key == "long_mscale") && value == attention);
      if (!scheme.contains(key) && !kRead.contains(key) && !value.is_null() && !repeats)
        warn(fmt::format("RoPE parameter '{}' is not used", key));
    }
  }

  const ConfigFields& fields_;
  int64_t max_positions_;
  std::vector<std::string>& warnings_;
  ConfigFields rope_;
  double quotient_ = 1;  ///< max_position_embeddings / the original length
};

}  // namespace

ConfigRope read_rope(const ConfigFields& fields, int64_t max_position_embeddings, std::vector<std::string>& warnings) {
  return Reader(fields, max_position_embeddings, warnings).read();
}

}  // namespace qroar
