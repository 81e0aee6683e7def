// RoPE as a config.json states it: `rope_scaling` beside `rope_theta` (transformers 4) or `rope_parameters`
// (transformers 5), each in several spellings, read as transformers 5.17 does (modeling_rope_utils.py).
#pragma once
#include "model/config_fields.h"

namespace qroar {

struct ConfigRope {
  double theta = 10000;  ///< base of the frequencies
  double partial_rotary_factor = 1;
  int64_t trained_length = 0;  ///< L0: the original length where one is stated, else max_position_embeddings
  /// The equivalent block `rope` of an experiment, such as {"type": "yarn", "factor": 8.0}; in addition to the scheme's
  /// own keys it has original_max_position_embeddings, the length that the type's formula uses as L0, if there is a
  /// formula.
  Json scheme = {{"type", "none"}};
};

/// Reads the RoPE parameters.  Where transformers guesses, adds the value used to `warnings`; where no value can be
/// right, throws an Error that names the field.
ConfigRope read_rope(const ConfigFields& fields, int64_t max_position_embeddings, std::vector<std::string>& warnings);

}  // namespace qroar
