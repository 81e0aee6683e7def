#include "model/generation_config.h"

#include <fmt/format.h>

#include "base/files.h"
#include "model/config_fields.h"

namespace qroar {
namespace {

/// What makes generate() take another token than the likeliest, or end elsewhere, and the value with which it does not.
const std::pair<const char*, Json> kChanging[] = {
    {"repetition_penalty", 1.0},
    {"encoder_repetition_penalty", 1.0},
    {"no_repeat_ngram_size", 0},
    {"min_length", 0},
    {"min_new_tokens", 0},
    {"num_beams", 1},
    {"penalty_alpha", 0.0},
    {"guidance_scale", 1.0},
    {"suppress_tokens", nullptr},
    {"begin_suppress_tokens", nullptr},
    {"bad_words_ids", nullptr},
    {"sequence_bias", nullptr},
    {"forced_bos_token_id", nullptr},
    {"forced_eos_token_id", nullptr},
    {"exponential_decay_length_penalty", nullptr},
    {"stop_strings", nullptr},
};

}  // namespace

void read_generation_config(const std::filesystem::path& file, LlamaConfig& config) {
  if (!std::filesystem::exists(file)) return;
  const ConfigFields fields = ConfigFields::parse(read_file(file), file);
  if (fields.has("eos_token_id")) {
    std::vector<int64_t> ends = fields.integers("eos_token_id");
    if (ends != config.eos_token_ids) config.generation = Json(ends).dump();
    config.eos_token_ids = std::move(ends);
  }
  for (const auto& [key, neutral] : kChanging) {
    if (!fields.has(key) || fields.json()[key] == neutral) continue;
    config.generation_warnings.push_back(
        fmt::format("generation_config.json has {} {}, with which transformers answers otherwise; answers here are the "
                    "likeliest token at each step",
                    key, fields.json()[key].dump()));
  }
}

}  // namespace qroar
