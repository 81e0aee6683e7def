#include "model/llama_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "model/config_keys.h"
#include "model/config_rope.h"
#include "model/family.h"
#include "model/generation_config.h"

namespace qroar {
namespace {

// Bounds on the sizes that a file may state, so that no product of a tensor's sizes overflows: heads * head_dim *
// hidden_size * 8 bytes <= 2^59.
constexpr int64_t kMaxCount = int64_t{1} << 16;
constexpr int64_t kMaxWidth = int64_t{1} << 24;

void read_sizes(const ConfigFields& fields, LlamaConfig& config) {
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

/// Returns the BOS token: the first one of a list, which some models have; Llama's own 1 if absent; nothing if null,
/// for a model without BOS.
std::optional<int64_t> bos_token(const ConfigFields& fields, int64_t vocab_size) {
  constexpr const char* kName = "bos_token_id";
  if (!fields.json().contains(kName)) return 1;
  if (!fields.has(kName)) return std::nullopt;
  const std::vector<int64_t> ids = fields.integers(kName);
  if (ids.empty() || ids.front() < 0 || ids.front() >= vocab_size)
    fields.wrong(kName, fmt::format("an integer from 0 to {}", vocab_size - 1));
  return ids.front();
}

LlamaConfig read(const std::string& bytes, const std::filesystem::path& file) {
  const ConfigFields stated = ConfigFields::parse(bytes, file);
  const std::unique_ptr<Family> family = checked_family(stated);
  Json completed = stated.json();
  family->complete(completed);
  const ConfigFields fields = stated.with(std::move(completed));
  if (fields.has("hidden_act")) fields.require_text("hidden_act", "silu");
  LlamaConfig config;
  config.model_type = fields.text("model_type");
  config.hash = hash_bytes(bytes);
  read_sizes(fields, config);
  config.rms_norm_eps = fields.number("rms_norm_eps", 1e-6, 0, 1);
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  config.bos_token_id = bos_token(fields, config.vocab_size);
  config.eos_token_ids = fields.integers("eos_token_id");
  config.dtype = fields.text(fields.has("dtype") ? "dtype" : "torch_dtype");
  const ConfigRope rope = read_rope(fields, config.max_position_embeddings, config.warnings);
  config.rope_theta = rope.theta;
  config.partial_rotary_factor = rope.partial_rotary_factor;
  const std::vector<std::string_view> own_keys = family->keys();
  if (config.partial_rotary_factor != 1 && std::ranges::find(own_keys, kPartialRotary) == own_keys.end()) {
    fields.complain(fmt::format("{} is {}, and RoPE rotates whole heads in a model of type {}", kPartialRotary,
                                config.partial_rotary_factor, config.model_type));
  }
  if (config.rotary_dim() < 2 || config.rotary_dim() % 2 != 0) {
    fields.complain(fmt::format("partial_rotary_factor {} of head_dim {} rotates {} channels; expected an even number",
                                config.partial_rotary_factor, config.head_dim, config.rotary_dim()));
  }
  config.trained_length = rope.trained_length;
  config.rope = rope.scheme;
  config.layers.resize(static_cast<std::size_t>(config.num_hidden_layers));
  family->read(fields, config);
  check_other_keys(fields, own_keys, config);
  return config;
}

/// Returns the contents of imported.json, or null where there is none.
Json read_imported(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return nullptr;
  const ConfigFields fields = ConfigFields::parse(read_file(file), file);
  if (!fields.has("label") && !fields.has("bits_per_weight"))
    return fields.json();  // of weights that were not quantized
  if (fields.text("label").empty()) fields.missing("label", "a text; import the checkpoint again");
  if (!fields.has("bits_per_weight")) fields.missing("bits_per_weight", "a number; import the checkpoint again");
  fields.number("bits_per_weight", 16, 0, 64);
  return fields.json();
}

}  // namespace

LlamaConfig LlamaConfig::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  try {
    LlamaConfig config = read(read_file(file), file);
    config.imported = read_imported(folder / "imported.json");
    read_generation_config(folder / "generation_config.json", config);
    return config;
  } catch (const Error& error) {
    throw UnreadableConfig(error.what());
  }
}

}  // namespace qroar
