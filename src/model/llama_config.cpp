#include "model/llama_config.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"

namespace qroar {
namespace {

using Json = nlohmann::ordered_json;

// Bounds on what a file may claim, so that no product of a tensor's sizes overflows: heads * head_dim * hidden_size * 8
// bytes <= 2^59.
constexpr int64_t kMaxCount = int64_t{1} << 16;
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 31;

/// One object of the file; every complaint names the file and the field.  null counts as absent, as with Hugging Face.
class Fields {
 public:
  Fields(std::string place, Json object) : place_(std::move(place)), object_(std::move(object)) {}

  bool has(const std::string& name) const { return object_.contains(name) && !object_[name].is_null(); }
  const Json& json() const { return object_; }

  int64_t integer(const std::string& name, std::optional<int64_t> fallback, int64_t low, int64_t high) const {
    const std::string expected = fmt::format("an integer from {} to {}", low, high);
    if (!has(name)) return fallback ? *fallback : missing(name, expected);
    const Json& value = object_[name];
    const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(high)
                                                 : value.is_number_integer() && value.get<int64_t>() <= high;
    if (!fits || value.get<int64_t>() < low) wrong(name, expected);
    return value.get<int64_t>();
  }

  /// One integer or a list of them, none when absent.
  std::vector<int64_t> integers(const std::string& name) const {
    if (!has(name)) return {};
    const Json list = object_[name].is_array() ? object_[name] : Json::array({object_[name]});
    std::vector<int64_t> values;
    for (const Json& value : list) {
      if (!value.is_number_integer()) wrong(name, "an integer or a list of integers");
      values.push_back(value);
    }
    return values;
  }

  double number(const std::string& name, double fallback, double low, double high) const {
    if (!has(name)) return fallback;
    const Json& value = object_[name];
    if (!value.is_number() || !(value.get<double>() > low && value.get<double>() <= high)) {
      wrong(name, fmt::format("a number above {} and up to {}", low, high));
    }
    return value.get<double>();
  }

  bool boolean(const std::string& name, bool fallback) const {
    if (!has(name)) return fallback;
    if (!object_[name].is_boolean()) wrong(name, "true or false");
    return object_[name].get<bool>();
  }

  void require_text(const std::string& name, const std::string& supported) const {
    const std::string expected = fmt::format("\"{}\", the only one supported", supported);
    if (!has(name)) missing(name, expected);
    if (object_[name] != Json(supported)) wrong(name, expected);
  }

  /// The object under `name`, empty when absent.
  Fields object(const std::string& name) const {
    if (!has(name)) return Fields(place_, Json::object());
    if (!object_[name].is_object()) wrong(name, "an object");
    return Fields(place_ + ": " + name, object_[name]);
  }

  [[noreturn]] void wrong(const std::string& name, const std::string& expected) const {
    fail("{}: field '{}' is {}; expected {}", place_, name, object_[name].dump().substr(0, 60), expected);
  }
  [[noreturn]] void complain(const std::string& what) const { fail("{}: {}", place_, what); }

 private:
  [[noreturn]] int64_t missing(const std::string& name, const std::string& expected) const {
    fail("{}: missing field '{}'; expected {}", place_, name, expected);
  }

  std::string place_;
  Json object_;
};

Fields read_fields(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  try {
    Json json = Json::parse(text);
    if (!json.is_object()) fail("{}: expected a JSON object, found {}", path.string(), json.type_name());
    const auto bos = json.find("bos_token_id");  // a list, as some models have it: the first one counts
    if (bos != json.end() && bos->is_array() && !bos->empty()) *bos = Json(bos->front());
    return Fields(path.string(), std::move(json));
  } catch (const Json::exception& error) {
    const std::string what = error.what();  // "[json.exception.parse_error.101] parse error at line 3, column 5: ..."
    fail("{}: not valid JSON: {}", path.string(), what.substr(what.find("] ") + 2));
  }
}

/// Hugging Face 4 writes rope_scaling, 5 writes rope_parameters.
Fields rope_fields(const Fields& fields) {
  const Fields v4 = fields.object("rope_scaling");
  const Fields v5 = fields.object("rope_parameters");
  if (!v4.json().empty() && !v5.json().empty() && v4.json() != v5.json()) {
    fields.complain("'rope_scaling' and 'rope_parameters' differ; keep one of them");
  }
  return v4.json().empty() ? v5 : v4;
}

void read_sizes(const Fields& fields, LlamaConfig& config) {
  config.vocab_size = fields.integer("vocab_size", {}, 1, kMaxWidth);
  config.hidden_size = fields.integer("hidden_size", {}, 1, kMaxWidth);
  config.intermediate_size = fields.integer("intermediate_size", {}, 1, kMaxWidth);
  config.num_hidden_layers = fields.integer("num_hidden_layers", {}, 1, kMaxCount);
  config.num_attention_heads = fields.integer("num_attention_heads", {}, 1, kMaxCount);
  config.num_key_value_heads = fields.integer("num_key_value_heads", config.num_attention_heads, 1, kMaxCount);
  config.max_position_embeddings = fields.integer("max_position_embeddings", {}, 2, kMaxPositions);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    fields.complain(fmt::format("num_attention_heads ({}) must be a multiple of num_key_value_heads ({})",
                                config.num_attention_heads, config.num_key_value_heads));
  }
  if (!fields.has("head_dim") && config.hidden_size % config.num_attention_heads != 0) {
    fields.complain(
        fmt::format("hidden_size ({}) must be a multiple of num_attention_heads ({}) where 'head_dim' is not given",
                    config.hidden_size, config.num_attention_heads));
  }
  config.head_dim = fields.integer("head_dim", config.hidden_size / config.num_attention_heads, 1, kMaxCount);
  if (config.head_dim < 2 || config.head_dim > kMaxCount || config.head_dim % 2 != 0) {
    fields.complain(
        fmt::format("head_dim ({}) must be even and at most {}: RoPE turns pairs", config.head_dim, kMaxCount));
  }
}

/// The rope type `default` and an object without any type say no more than theta.
std::string scaling_text(const Fields& rope, const LlamaConfig& config, bool original_stated) {
  Json scaling = rope.json();
  if (rope.has("factor") && !rope.has("rope_type") && !rope.has("type")) rope.complain("missing field 'rope_type'");
  const Json type = scaling.value("rope_type", scaling.value("type", Json("default")));
  if (type == Json("default")) return "";
  if (original_stated && !rope.has("factor")) {
    scaling["factor"] =
        static_cast<double>(config.max_position_embeddings) / static_cast<double>(config.trained_length);
  }
  return scaling.dump();
}

void read_rope(const Fields& fields, LlamaConfig& config) {
  constexpr double kMaxTheta = 1e15;
  constexpr const char* kOriginal = "original_max_position_embeddings";
  const Fields rope = rope_fields(fields);
  for (const Fields* part : {&fields, &rope}) {
    if (part->number("partial_rotary_factor", 1, 0, 1) != 1) {
      part->wrong("partial_rotary_factor", "1: all of a head is turned");
    }
    config.rope_theta = part->number("rope_theta", config.rope_theta, 1, kMaxTheta);
  }
  const int64_t outer = fields.integer(kOriginal, config.max_position_embeddings, 2, kMaxPositions);
  config.trained_length = rope.integer(kOriginal, outer, 2, kMaxPositions);
  config.rope_scaling = scaling_text(rope, config, fields.has(kOriginal) || rope.has(kOriginal));
}

}  // namespace

LlamaConfig LlamaConfig::load(const std::filesystem::path& folder) {
  const Fields fields = read_fields(folder / "config.json");
  fields.require_text("model_type", "llama");
  if (fields.has("hidden_act")) fields.require_text("hidden_act", "silu");
  LlamaConfig config;
  read_sizes(fields, config);
  config.rms_norm_eps = fields.number("rms_norm_eps", 1e-6, 0, 1);
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  config.attention_bias = fields.boolean("attention_bias", false);
  config.mlp_bias = fields.boolean("mlp_bias", false);
  config.bos_token_id = fields.integer("bos_token_id", 1, 0, config.vocab_size - 1);
  if (fields.json().contains("bos_token_id") && !fields.has("bos_token_id")) config.bos_token_id.reset();
  config.eos_token_ids = fields.integers("eos_token_id");
  read_rope(fields, config);
  return config;
}

}  // namespace qroar
