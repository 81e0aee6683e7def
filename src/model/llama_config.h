// The hyperparameters of a Llama family model as config.json states them, under Hugging Face's names.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"

namespace qroar {

/// A config.json that cannot be read, or that describes a model which is not evaluated here.
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
  int64_t head_dim = 0;             ///< config.json's, else hidden_size / num_attention_heads
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 0;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::optional<int64_t> bos_token_id = 1;  ///< none where config.json says null: a model without BOS
  std::vector<int64_t> eos_token_ids;       ///< tokens that end a text; config.json has one or a list
  /// A query's reach back in tokens, itself included; none: all.  The model here has no such limit, so that no longer
  /// window may be evaluated.
  std::optional<int64_t> sliding_window;
  std::string dtype;  ///< of the weights as config.json names it ("bfloat16"), empty where it does not

  /// The block `rope` that config.json's RoPE parameters come to (model/config_rope.h).
  Json rope;
  /// L0: original_max_position_embeddings where stated, else max_position_embeddings.
  int64_t trained_length = 0;

  std::vector<std::string> warnings;  ///< what was guessed or is not known, a line each
  std::string hash;                   ///< of the file's bytes

  /// Reads and checks FOLDER/config.json; an UnreadableConfig names the file, the field, what was found and what is
  /// needed.
  static LlamaConfig load(const std::filesystem::path& folder);
};

}  // namespace qroar
