#include "quant/calibrate.h"

#include <spdlog/spdlog.h>

#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/host.h"
#include "base/progress.h"
#include "base/stop.h"

namespace qroar {
namespace {

/// The layers' inputs, one tensor [length, D] per sample.
using Stream = std::vector<at::Tensor>;
using Calibrators = std::vector<std::shared_ptr<LayerCalibrator>>;

/// Forwards every call to several calibrators.
class CalibratingObserver : public Observer {
 public:
  explicit CalibratingObserver(const Calibrators& calibrators) : calibrators_(calibrators) {}
  void on(std::string_view site, const at::Tensor& value) override {
    for (const auto& calibrator : calibrators_) calibrator->on(site, value);
  }
  void on_input(std::string_view site, const at::Tensor& x_RI) override {
    for (const auto& calibrator : calibrators_) calibrator->on_input(site, x_RI);
  }

 private:
  const Calibrators& calibrators_;
};

/// Records the lowest and the highest input value of each layer whose input has a static range.
class RangeCalibrator : public LayerCalibrator {
 public:
  explicit RangeCalibrator(const QuantRules& rules) : rules_(rules) {}
  void begin_sample(int64_t) override {}
  void on_input(std::string_view name, const at::Tensor& x_RI) override {
    const std::string site(name);
    if (!rules_.is_static(site)) return;
    const at::Tensor now = at::stack({x_RI.min(), x_RI.max()}).to(at::kFloat);
    at::Tensor& range = found_[name_in_layer(site) + kRangeSuffix];
    range = range.defined() ? at::stack({at::minimum(range[0], now[0]), at::maximum(range[1], now[1])}) : now;
  }
  bool end_pass(DecoderLayer&) override { return false; }
  TensorMap found() const override { return found_; }

 private:
  const QuantRules& rules_;
  TensorMap found_;
};

class Calibration {
 public:
  Calibration(const QuantRules& rules, const Llama& model, const CalibrationText& text, const ops::RopeAngles& angles)
      : rules_(rules), model_(model), text_(text), angles_(angles) {}

  TensorMap run() {
    bool any_exact = false, any_quantized = false;
    for (const DecoderLayer& layer : model_.layers) {
      any_quantized |= has_static(layer);
      for (const auto& quantizer : rules_.calibrated(layer)) {
        (quantizer->sees_quantized_inputs() ? any_quantized : any_exact) = true;
      }
    }
    Stream exact = any_exact ? embedded() : Stream(), quantized = any_quantized ? embedded() : Stream();
    Progress progress(static_cast<double>(model_.layers.size()));
    TensorMap found;
    for (const DecoderLayer& stored : model_.layers) {
      throw_if_stop_requested();
      const DecoderLayer full = stored.loaded();
      TensorMap of_layer;
      DecoderLayer layer = full;
      const Calibrators exact_watch = watch(full, false), quantized_watch = watch(full, true);
      if (any_exact) {
        exact = pass(full, exact, exact_watch);
        for (const auto& calibrator : exact_watch) {
          check(!calibrator->end_pass(layer), "a calibrator of exact inputs has one pass");
        }
        collect(exact_watch, full, of_layer);
      }
      for (const auto& calibrator : quantized_watch) {
        do {
          pass(layer, quantized, {calibrator});
        } while (calibrator->end_pass(layer));
      }
      collect(quantized_watch, full, of_layer);
      if (any_quantized) {
        layer = full;
        quantize_layer(rules_, layer, of_layer);
        const Calibrators range_watch = {std::make_shared<RangeCalibrator>(rules_)};
        quantized = pass(layer, quantized, range_watch);
        collect(range_watch, full, of_layer);
      }
      for (const auto& [name, tensor] : of_layer) found[full.site + "." + name] = tensor;
      progress.advance(1, "calibrating " + full.site);
    }
    return found;
  }

 private:
  bool has_static(const DecoderLayer& layer) const {
    return std::ranges::any_of(kLayerLinears, [&](auto member) { return rules_.is_static((layer.*member).site); });
  }

  Stream embedded() const {
    Stream stream;
    for (const auto& sample : text_.samples) {
      const at::Tensor tokens_T = at::tensor(at::ArrayRef<int32_t>(sample), at::kInt).to(at::kLong);
      stream.push_back(embed(model_, tokens_T.to(model_.embed_tokens_VD.device())));
    }
    return stream;
  }

  Calibrators watch(const DecoderLayer& layer, bool quantized_inputs) const {
    Calibrators calibrators;
    for (const auto& quantizer : rules_.calibrated(layer)) {
      if (quantizer->sees_quantized_inputs() != quantized_inputs) continue;
      calibrators.push_back(quantizer->watch({model_.config, layer, angles_, std::ssize(text_.samples),
                                              std::ssize(text_.samples.front()), rules_.sites_of(*quantizer)}));
    }
    return calibrators;
  }

  /// Runs all samples through the layer.
  Stream pass(const DecoderLayer& layer, const Stream& inputs, const Calibrators& calibrators) const {
    CalibratingObserver observer(calibrators);
    Stream outputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      for (const auto& calibrator : calibrators) calibrator->begin_sample(static_cast<int64_t>(i));
      at::Tensor x_TD = inputs[i].clone();
      decoder_layer(layer, model_.config, x_TD, angles_, calibrators.empty() ? nullptr : &observer);
      if (!x_TD.isfinite().all().item<bool>()) {
        fail(
            "calibration: values that are not finite come out of {} for sample {} (dtype {}); check the weights, or "
            "try model.dtype: float32",
            layer.site, i, at::toString(x_TD.scalar_type()));
      }
      outputs.push_back(std::move(x_TD));
    }
    return outputs;
  }

  static void collect(const Calibrators& calibrators, const DecoderLayer& layer, TensorMap& found) {
    for (const auto& calibrator : calibrators) {
      for (auto& [name, tensor] : calibrator->found()) {
        if (!found.emplace(name, tensor).second) {
          fail("{}: two rules of `quant` calibrate {}; layers that share their input (q, k, v; gate, up) need one rule",
               layer.site, name);
        }
      }
    }
  }

  const QuantRules& rules_;
  const Llama& model_;
  const CalibrationText& text_;
  const ops::RopeAngles& angles_;
};

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

/// Returns the cached result, or nothing when there is none.  A cache that cannot be used costs only time.
std::optional<TensorMap> read_cache(const std::filesystem::path& file, const std::string& key,
                                    const at::Device& device) {
  std::error_code unreadable;
  if (!std::filesystem::exists(file, unreadable)) return std::nullopt;
  try {
    TensorMap found;
    std::string mark;
    // Copies the tensors, so that what is hashed is what is used even when the file changes.
    for (const auto& [name, tensor] : read_tensors(file, at::kCPU)) {
      if (name.starts_with("key.")) {
        mark = name;
      } else {
        found[name] = tensor.clone();
      }
    }
    if (mark == mark_of(key, found)) {
      for (auto& [name, tensor] : found) tensor = tensor.to(device);
      return found;
    }
    spdlog::warn("{}: not what a calibration of this model and these settings wrote; calibrating again", file.string());
  } catch (const Error& error) {
    spdlog::warn("{}; calibrating again", error.what());
  }
  return std::nullopt;
}

}  // namespace

TensorMap calibrate_cached(const std::string& key, const QuantRules& rules, const Llama& prepared,
                           const CalibrationText& text, const ops::RopeAngles& angles) {
  const std::string hash = hash_bytes(key);
  const auto file = cache_folder() / "calibration" / (hash + ".safetensors");
  if (auto cached = read_cache(file, hash, prepared.embed_tokens_VD.device())) {
    spdlog::info("calibration from {}", file.string());
    return *std::move(cached);
  }
  TensorMap found = calibrate(rules, prepared, text, angles);
  try {
    TensorMap marked = found;
    marked[mark_of(hash, found)] = at::empty({0}, at::kFloat);
    std::filesystem::create_directories(file.parent_path());
    remove_stale_temporaries(file.parent_path());
    write_tensors(file, marked);
  } catch (const std::exception& error) {
    spdlog::warn("the calibration is not cached and will be made again next time: {}", error.what());
  }
  return found;
}

TensorMap calibrate(const QuantRules& rules, const Llama& prepared, const CalibrationText& text,
                    const ops::RopeAngles& angles) {
  return Calibration(rules, prepared, text, angles).run();
}

}  // namespace qroar
