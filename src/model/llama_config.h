// The hyperparameters of a Llama family model as config.json states them, under Hugging Face's names.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace qroar {

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
  std::vector<int64_t> eos_token_ids;  ///< tokens that end a text; config.json has one or a list
  /// rope_scaling (v4) or rope_parameters (v5) as JSON text; empty when absent or of type default.  A factor left out
  /// beside original_max_position_embeddings is filled in as max_position_embeddings / original, as Hugging Face reads
  /// it.
  std::string rope_scaling;

  /// L0: rope_scaling's original_max_position_embeddings where stated, else max_position_embeddings.
  int64_t trained_length = 0;

  /// Reads and checks FOLDER/config.json; an Error names the file, the field, what was found and what is needed.
  static LlamaConfig load(const std::filesystem::path& folder);
};

}  // namespace qroar
