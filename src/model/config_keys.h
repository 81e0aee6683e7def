// Checks the keys of a config.json that are not read: rejects keys that would change the model, ignores those that
// cannot, and warns about any other.
#pragma once
#include "model/family.h"

namespace qroar {

/// Returns the model's family.  Throws an Error for a model_type that is not known and for a model whose weights are
/// already quantized.
std::unique_ptr<Family> checked_family(const ConfigFields& fields);

/// Checks all other keys but those that the family reads.  Throws an Error that names a key which requires something
/// that the model does not implement, unless its value is neutral; adds unknown keys to config.warnings.
void check_other_keys(const ConfigFields& fields, const std::vector<std::string_view>& read, LlamaConfig& config);

}  // namespace qroar
