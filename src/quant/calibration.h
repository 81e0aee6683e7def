// The YAML block `calibration`: the texts that calibrated quantizers look at.
#pragma once
#include <string>
#include <vector>

#include "data/dataset.h"

namespace qroar {

struct CalibrationSpec {
  DataSpec data;
  int64_t samples = 128, length = 512;  ///< sequences, and tokens of each (no BOS)
  int64_t seed = 0;                     ///< of the draw
  /// rope: `trained` runs the samples under the model's own frequencies, `evaluated` under the scheme that the job is
  /// evaluated with.
  bool evaluated_rope = false;

  /// Reads data (required), samples, length, seed, rope.
  explicit CalibrationSpec(const Config& config);
};

struct CalibrationText {
  std::vector<std::vector<int32_t>> samples;
  std::string hash;  ///< of the tokens
};

/// Cuts every document into blocks of `length` tokens (its tail is dropped) and draws `samples` of them without
/// repetition.  An Error that counts the blocks when there are too few.
CalibrationText draw_samples(const std::vector<Document>& documents, const CalibrationSpec& spec);

}  // namespace qroar
