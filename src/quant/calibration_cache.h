// What calibrations leave in cache_folder()/calibration: a file for each finished one, and for one that is not finished
// a folder with what it found for each layer and the samples as they left the last one.
#pragma once
#include <filesystem>
#include <functional>
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
  /// instead of in memory, for weights that are streamed; where nothing can be written it stays in memory.  Matrices
  /// are then in the CPU's memory whatever the device, and move to it with their layer; vectors are on the device.
  /// `check` is called before anything is written and throws where what was computed until now must not be kept, since
  /// the model has changed or could not be read meanwhile.
  CalibrationCache(const std::string& key, const at::Device& device, bool mapped, std::function<void()> check);

  std::optional<TensorMap> read();
  /// Writes the result and returns it, and removes what the unfinished calibration left.
  TensorMap write(TensorMap found);

  /// Keeps what was found for a layer (number `layer`), which it returns, and the samples as they leave it.
  TensorMap keep(std::size_t layer, TensorMap found, const CalibrationStreams& streams);
  /// Returns how many layers were kept, with their findings and the samples; 0 where there is nothing to go on with.
  std::size_t resume(std::vector<TensorMap>& found, CalibrationStreams& streams);

  /// Throws an Error once a file whose tensors are mapped has changed or a part of it could not be read, which reads as
  /// zeros.  Ask before keeping what was computed with them.
  void check_unchanged() const;

 private:
  std::optional<TensorMap> read_file(const std::filesystem::path& file, bool mapped);
  void write_file(const std::filesystem::path& file, TensorMap tensors, const char* what);
  TensorMap written(const std::filesystem::path& file, TensorMap found, const char* what);
  std::filesystem::path file_of_layer(std::size_t layer) const;

  std::string hash_;
  at::Device device_;
  bool mapped_;
  std::function<void()> check_;
  std::filesystem::path file_, unfinished_;
  std::vector<SafetensorsFile> mapped_files_;  ///< whose tensors may be in use
  bool is_given_up_ = false;                   ///< nothing is written any more: a disk that refused it would again
};

}  // namespace qroar
