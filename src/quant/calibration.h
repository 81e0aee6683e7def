// The YAML block `calibration`: the texts that calibrated quantizers use.
#pragma once
#include <string>
#include <vector>

#include "data/dataset.h"

namespace qroar {

struct CalibrationSpec {
  DataSpec data;
  int64_t samples = 128, length = 512;  ///< number of sequences, and tokens of each (no BOS)
  int64_t seed = 0;                     ///< seed of the random choice of sequences
  /// rope: `trained` runs the samples with the model's own frequencies, `evaluated` with the scheme that the job is
  /// evaluated with.
  bool evaluated_rope = false;

  /// Reads data (required), samples, length, seed, rope.
  explicit CalibrationSpec(const Config& config);
};

struct CalibrationText {
  std::vector<std::vector<int32_t>> samples;
  std::string hash;  ///< hash of the tokens
};

/// Cuts every document into blocks of `length` tokens (dropping the remainder) and draws `samples` of them without
/// repetition.  Throws an Error with the number of blocks when there are too few.
CalibrationText draw_samples(const std::vector<Document>& documents, const CalibrationSpec& spec);

}  // namespace qroar
