// FOLDER/generation_config.json, as far as it decides greedy answers; absent in many folders.
#pragma once
#include <filesystem>

#include "model/llama_config.h"

namespace qroar {

/// Takes the tokens that end a text from the file, where it has them, as transformers' generate() does, and sets
/// config.generation and config.generation_warnings.  Throws an Error for a file that is no JSON object.
void read_generation_config(const std::filesystem::path& file, LlamaConfig& config);

}  // namespace qroar
