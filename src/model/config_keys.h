// Checks the keys of a config.json that are not read: rejects keys that would change the model, ignores those that
// cannot, and warns about any other.
#pragma once
#include "model/llama_config.h"

namespace qroar {

class ConfigFields;

/// Checks the checkpoint's architecture and format.  Throws an Error for a model that is not a Llama and for one whose
/// weights are already quantized.
void check_architecture(const ConfigFields& fields);

/// Checks all other keys.  Throws an Error that names a key which requires something that the model does not implement,
/// unless its value is neutral; adds unknown keys to config.warnings.
void check_other_keys(const ConfigFields& fields, LlamaConfig& config);

}  // namespace qroar
