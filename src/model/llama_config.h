// The hyperparameters of a model as stated in config.json, under Hugging Face's names.  A family (model/family.h)
// states how its own names and defaults are read.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "ops/attention_options.h"
#include "rope/scheme.h"

namespace qroar {

/// Thrown for a config.json that cannot be read or that describes an unsupported model.
class UnreadableConfig : public Error {
 public:
  using Error::Error;
};

/// What distinguishes a decoder layer from others.
struct LayerConfig {
  ops::AttentionOptions attention;
  bool rope = true;  ///< false: queries and keys are not rotated

  bool operator==(const LayerConfig&) const = default;
};

/// Bound on positions and windows that a file may state, so that no product of sizes overflows.
inline constexpr int64_t kMaxPositions = int64_t{1} << 31;

struct LlamaConfig {
  std::string model_type = "llama";  ///< names the family
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;  ///< equals num_attention_heads without grouped-query attention
  int64_t head_dim = 0;             ///< as stated, else hidden_size / num_attention_heads
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 0;
  double rope_theta = 10000.0;
  double partial_rotary_factor = 1;  ///< RoPE rotates the first rotary_dim() channels of a head
  bool tie_word_embeddings = false;
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;  ///< queries and keys are normed per head before RoPE
  double embedding_multiplier = 1, residual_multiplier = 1, logits_scaling = 1;  ///< of Granite; the last one divides
  std::vector<LayerConfig> layers;                                               ///< [num_hidden_layers]
  std::optional<int64_t> bos_token_id = 1;  ///< none where config.json says null: a model without BOS
  /// Tokens that end a text, one or a list in generation_config.json, where it has any, else in config.json.
  std::vector<int64_t> eos_token_ids;
  std::string
      generation;  ///< of rows with answers: the tokens that end a text where config.json has others, else empty
  std::vector<std::string> generation_warnings;  ///< why transformers may answer otherwise, one line each
  /// A sliding_window that a reader of this model_type may ignore or not: longer windows must not be evaluated.
  std::optional<int64_t> doubtful_window;
  std::string dtype;  ///< dtype of the weights as in config.json ("bfloat16"), empty where absent

  /// The block `rope` that is equivalent to config.json's RoPE parameters (model/config_rope.h).
  Json rope = {{"type", "none"}};
  /// L0: original_max_position_embeddings where stated, else max_position_embeddings.
  int64_t trained_length = 0;

  /// What FOLDER/imported.json says about weights that scripts/import_checkpoint took from a quantized checkpoint, or
  /// that an export has rounded: a `label` for tables and `bits_per_weight` among others; null without such a file.
  Json imported;

  std::vector<std::string> warnings;  ///< what was guessed or is unknown, one line each
  std::string hash;                   ///< of the file's bytes

  /// Returns the channels of a head that RoPE rotates, as pairs (i, i + rotary_dim / 2).
  int64_t rotary_dim() const { return static_cast<int64_t>(static_cast<double>(head_dim) * partial_rotary_factor); }
  int64_t pairs() const { return rotary_dim() / 2; }
  /// Returns what a RoPE scheme needs to know of this model for windows of `target_length` tokens.
  RopeGeometry rope_geometry(int64_t target_length) const {
    return {rotary_dim(), rope_theta, trained_length, target_length, rope};
  }

  /// Reads and checks FOLDER/config.json and imported.json.  Throws an UnreadableConfig that names the file, the field,
  /// the value found and the value expected.
  static LlamaConfig load(const std::filesystem::path& folder);
};

}  // namespace qroar
