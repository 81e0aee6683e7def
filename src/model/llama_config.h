// The hyperparameters of a Llama family model as stated in config.json, under Hugging Face's names.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"

namespace qroar {

/// Thrown for a config.json that cannot be read or that describes an unsupported model.
class UnreadableConfig : public Error {
 public:
  using Error::Error;
};

struct LlamaConfig {
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
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::optional<int64_t> bos_token_id = 1;  ///< none where config.json says null: a model without BOS
  std::vector<int64_t> eos_token_ids;       ///< tokens that end a text; config.json has one or a list
  /// How many tokens a query attends to, itself included; none: all.  The model here has no such limit, so longer
  /// windows must not be evaluated.
  std::optional<int64_t> sliding_window;
  std::string dtype;  ///< dtype of the weights as in config.json ("bfloat16"), empty where absent

  /// The block `rope` that is equivalent to config.json's RoPE parameters (model/config_rope.h).
  Json rope;
  /// L0: original_max_position_embeddings where stated, else max_position_embeddings.
  int64_t trained_length = 0;

  std::vector<std::string> warnings;  ///< what was guessed or is unknown, one line each
  std::string hash;                   ///< of the file's bytes

  /// Reads and checks FOLDER/config.json.  Throws an UnreadableConfig that names the file, the field, the value found
  /// and the value expected.
  static LlamaConfig load(const std::filesystem::path& folder);
};

}  // namespace qroar
