// What else a config.json says, beside what is read: keys that would change the model are refused, those that cannot
// are passed over, and any other is named in a warning.
#pragma once
#include "model/llama_config.h"

namespace qroar {

class ConfigFields;

/// The checkpoint's architecture and format: an Error for a model that is no Llama and for one whose weights are
/// already quantized.
void check_architecture(const ConfigFields& fields);

/// All other keys.  An Error names a key that asks for something the model does not do, where its value is not the one
/// that changes nothing; keys that are not known here go into config.warnings.
void check_other_keys(const ConfigFields& fields, LlamaConfig& config);

}  // namespace qroar
