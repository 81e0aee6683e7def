// config.json with every spelling of RoPE; what it states is built, evaluated, exported and read again.
#include "rope_checks.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  scratch().write("config.json", std::string(input));
  const LlamaConfig config = LlamaConfig::load(scratch().folder());
  for (const int64_t size : {config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers,
                             config.num_attention_heads, config.num_key_value_heads, config.head_dim}) {
    must(size >= 1, "a size below 1");
  }
  must(config.num_attention_heads % config.num_key_value_heads == 0, "heads");
  must(config.rotary_dim() >= 2 && config.rotary_dim() % 2 == 0 && config.rotary_dim() <= config.head_dim,
       "RoPE turns pairs");
  must(std::ssize(config.layers) == config.num_hidden_layers, "a kind for each layer");
  must(config.rms_norm_eps > 0 && config.rope_theta > 1, "epsilon and theta");
  must(!config.bos_token_id || (*config.bos_token_id >= 0 && *config.bos_token_id < config.vocab_size), "BOS");
  for (const std::string& warning : config.warnings) must_be_one_line(warning);
  if (config.head_dim > 1024) return;
  const auto scheme = Registry<RopeScheme>::instance().build(block_of("{type: model}"));
  const int64_t longer = config.trained_length + 1000;
  check_rope(*scheme, config.rope_geometry(longer));
}

}  // namespace qroar
