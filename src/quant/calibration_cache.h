// What calibrations leave in cache_folder()/calibration: a file for each finished one, and for one that is not finished
// a folder with what it found for each layer and the samples as they left the last one.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "checkpoint/tensors.h"

namespace qroar {

/// The samples between two layers: one tensor [T, D] each, as full-precision and as quantized layers make them; empty
/// where no quantizer looks at them.
struct CalibrationStreams {
  std::vector<at::Tensor> exact, quantized;
};

/// A cache that cannot be read or written costs only time, and says so.  A file is used only where it holds what was
/// written for the same key.
class CalibrationCache {
 public:
  /// `key`: a text that holds everything the result depends on.  `mapped`: what was found stays in its files, mapped,
  /// instead of in memory (on a CPU), for weights that are streamed; where nothing can be written it stays in memory.
  CalibrationCache(const std::string& key, const at::Device& device, bool mapped);

  std::optional<TensorMap> read() const;
  /// Writes the result and returns it, and removes what the unfinished calibration left.
  TensorMap write(TensorMap found) const;

  /// Keeps what was found for a layer (number `layer`), which it returns, and the samples as they leave it.
  TensorMap keep(std::size_t layer, TensorMap found, const CalibrationStreams& streams) const;
  /// Returns how many layers were kept, with their findings and the samples; 0 where there is nothing to go on with.
  std::size_t resume(std::vector<TensorMap>& found, CalibrationStreams& streams) const;

 private:
  std::optional<TensorMap> read_file(const std::filesystem::path& file, bool mapped) const;
  void write_file(const std::filesystem::path& file, TensorMap tensors, const char* what) const;
  TensorMap written(const std::filesystem::path& file, TensorMap found, const char* what) const;
  std::filesystem::path file_of_layer(std::size_t layer) const;

  std::string hash_;
  at::Device device_;
  bool mapped_;
  std::filesystem::path file_, unfinished_;
};

}  // namespace qroar
