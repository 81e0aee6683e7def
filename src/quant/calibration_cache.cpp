#include "quant/calibration_cache.h"

#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/host.h"

namespace qroar {
namespace {

constexpr const char* kLayers = "layers";  ///< in the samples' file: the number of layers that they have passed

/// Returns the hash of the tensors' names, types, shapes and bytes.
std::string hash_of(const TensorMap& tensors) {
  std::string all;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor here = tensor.to(at::kCPU).contiguous();
    const std::string_view bytes(static_cast<const char*>(here.const_data_ptr()), here.nbytes());
    all += fmt::format("{} {} {} {}\n", name, at::toString(here.scalar_type()), fmt::join(here.sizes(), " "),
                       hash_bytes(bytes));
  }
  return hash_bytes(all);
}

/// Returns the name of an empty tensor that records what a file was made for and what it holds.
std::string mark_of(const std::string& key, const TensorMap& tensors) {
  return fmt::format("key.{}.{}", key, hash_of(tensors));
}

}  // namespace

CalibrationCache::CalibrationCache(const std::string& key, const at::Device& device, bool mapped,
                                   std::function<void()> check)
    : hash_(hash_bytes(key)),
      device_(device),
      mapped_(mapped),
      check_(std::move(check)),
      file_(cache_folder() / "calibration" / (hash_ + ".safetensors")),
      unfinished_(cache_folder() / "calibration" / (hash_ + ".unfinished")) {}

std::filesystem::path CalibrationCache::file_of_layer(std::size_t layer) const {
  return unfinished_ / fmt::format("layers.{}.safetensors", layer);
}

std::optional<TensorMap> CalibrationCache::read_file(const std::filesystem::path& file, bool mapped) {
  std::error_code unreadable;
  if (!std::filesystem::exists(file, unreadable)) return std::nullopt;
  try {
    TensorMap found;
    std::string mark;
    const SafetensorsFile opened(file);
    if (mapped) opened.hash();  // so that a change of links alone, as when it is removed or replaced, is none
    // Copies tensors that memory can hold, so that what is hashed is what is used even when the file changes.
    for (const auto& [name, view] : opened.tensors()) {
      const at::Tensor tensor = tensor_of(view, fmt::format("{}: tensor {}", file.string(), name));
      if (name.starts_with("key.")) {
        mark = name;
      } else {
        found[name] = mapped ? tensor : tensor.clone();
      }
    }
    if (mark == mark_of(hash_, found)) {
      if (mapped) mapped_files_.push_back(opened);
      for (auto& [name, tensor] : found) {
        if (!mapped || tensor.dim() < 2) tensor = tensor.to(device_);
      }
      return found;
    }
    spdlog::warn("{}: not what a calibration of this model and these settings wrote; calibrating again", file.string());
  } catch (const Error& error) {
    spdlog::warn("{}; calibrating again", error.what());
  }
  return std::nullopt;
}

void CalibrationCache::write_file(const std::filesystem::path& file, TensorMap tensors, const char* what) {
  if (is_given_up_) return;
  const std::string mark = mark_of(hash_, tensors);
  check_unchanged();  // behind the reading of tensors that may be mapped
  check_();
  try {
    tensors[mark] = at::empty({0}, at::kFloat);
    std::filesystem::create_directories(file.parent_path());
    remove_stale_temporaries(file.parent_path());
    write_tensors(file, tensors);
  } catch (const std::exception& error) {
    is_given_up_ = true;
    spdlog::warn("the calibration is not cached and {}: {}", what, error.what());
  }
}

void CalibrationCache::check_unchanged() const {
  for (const SafetensorsFile& file : mapped_files_) file.check_unchanged();
}

TensorMap CalibrationCache::written(const std::filesystem::path& file, TensorMap found, const char* what) {
  write_file(file, found, what);
  if (!mapped_) return found;
  auto mapped = read_file(file, mapped_);
  return mapped ? *std::move(mapped) : found;
}

std::optional<TensorMap> CalibrationCache::read() {
  auto found = read_file(file_, mapped_);
  if (found) spdlog::info("calibration from {}", file_.string());
  return found;
}

TensorMap CalibrationCache::write(TensorMap found) {
  const auto of_layers = std::ssize(mapped_files_);
  found = written(file_, std::move(found), "will be made again next time");
  if (std::ssize(mapped_files_) > of_layers)  // what was found is mapped from its own file now
    mapped_files_.erase(mapped_files_.begin(), mapped_files_.begin() + of_layers);
  std::error_code stays;  // it only takes room
  std::filesystem::remove_all(unfinished_, stays);
  return found;
}

TensorMap CalibrationCache::keep(std::size_t layer, TensorMap found, const CalibrationStreams& streams) {
  const char* what = "starts again where this run is stopped";
  found = written(file_of_layer(layer), std::move(found), what);
  TensorMap samples{{kLayers, at::full({1}, static_cast<double>(layer + 1), at::kDouble)}};
  if (!streams.exact.empty()) samples["exact"] = at::stack(streams.exact);
  if (!streams.quantized.empty()) samples["quantized"] = at::stack(streams.quantized);
  write_file(unfinished_ / "samples.safetensors", std::move(samples), what);
  return found;
}

std::size_t CalibrationCache::resume(std::vector<TensorMap>& found, CalibrationStreams& streams) {
  const auto samples = read_file(unfinished_ / "samples.safetensors", /*mapped=*/false);
  if (!samples) return 0;
  const auto layers = static_cast<std::size_t>(samples->at(kLayers).item<double>());
  for (std::size_t i = 0; i < layers; ++i) {
    auto of_layer = read_file(file_of_layer(i), mapped_);
    if (!of_layer) {
      found.clear();
      return 0;
    }
    found.push_back(*std::move(of_layer));
  }
  const auto parts = [&](const char* name) {
    const auto all = samples->find(name);
    return all == samples->end() ? std::vector<at::Tensor>() : all->second.unbind(0);
  };
  streams = {parts("exact"), parts("quantized")};
  spdlog::info("calibration goes on at layer {}, from {}", layers, unfinished_.string());
  return layers;
}

}  // namespace qroar
