#include "checkpoint/model_spec.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensors.h"
#include "model/site.h"
#include "ops/device.h"

namespace qroar {
namespace {

const std::vector<std::pair<std::string, at::ScalarType>> kDtypes = {
    {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}, {"float64", at::kDouble}};

/// Returns the checkpoint's dtype: that of config.json, as in transformers, else that of the embeddings.
at::ScalarType stored_dtype(const std::filesystem::path& folder, const LlamaConfig& llama) {
  if (llama.dtype.empty()) {
    const SafetensorsCheckpoint files = open_safetensors(folder);
    const std::string name = files.has("embed_tokens.weight") ? "embed_tokens.weight" : "model.embed_tokens.weight";
    return floating_type(files.at(name).dtype, fmt::format("{}: tensor {}", folder.string(), name));
  }
  const std::string prefix = "torch.";
  const std::string name = llama.dtype.starts_with(prefix) ? llama.dtype.substr(prefix.size()) : llama.dtype;
  const auto known = std::ranges::find(kDtypes, name, &std::pair<std::string, at::ScalarType>::first);
  if (known != kDtypes.end()) return known->second;
  fail("{}: dtype '{}' is not supported; name another one in the experiment (model.dtype: float32)",
       (folder / "config.json").string(), llama.dtype);
}

bool has_float16(const std::string& device) { return !ops::parse_device(device).is_cpu() || ops::cpu_has_float16(); }

/// Returns OWNER/MODEL where a path that does not exist may be meant as a model of the Hugging Face hub: that alone, or
/// behind models/, where scripts/fetch_model puts it; else nothing.
std::string hub_id(std::string path) {
  if (path.starts_with("models/")) path.erase(0, std::string("models/").size());
  const bool is_id = std::ranges::count(path, '/') == 1 && path.find_first_of("./~") == path.find('/') &&
                     path.front() != '/' && path.back() != '/';
  return is_id ? path : "";
}

}  // namespace

std::filesystem::path model_folder(const Config& block) {
  const Config place = block.at("path");
  const std::filesystem::path path = place.as_path();
  if (std::error_code error; !std::filesystem::is_directory(path, error)) {
    const std::string id = hub_id(place.as<std::string>());
    place.fail(fmt::format(
        "{}: no such folder; give a Hugging Face model folder (config.json, *.safetensors, tokenizer.model){}",
        path.string(),
        id.empty()
            ? ""
            : fmt::format(", or, for a model of the hub, run scripts/fetch_model {0}, which makes models/{0}", id)));
  }
  return path;
}

std::string dtype_text(at::ScalarType dtype) {
  const auto known = std::ranges::find(kDtypes, dtype, &std::pair<std::string, at::ScalarType>::second);
  check(known != kDtypes.end(), "models are of a floating dtype");
  return known->first;
}

at::ScalarType weight_dtype(const Config& block, const std::string& fallback, const std::filesystem::path& folder,
                            const LlamaConfig& llama, const std::string& device) {
  std::vector<std::pair<std::string, std::optional<at::ScalarType>>> choices{{"auto", std::nullopt}};
  for (const auto& [name, dtype] : kDtypes) choices.emplace_back(name, dtype);
  const auto otherwise = std::ranges::find(choices, fallback, [](const auto& choice) { return choice.first; });
  const auto written = block.get_choice<std::optional<at::ScalarType>>("dtype", otherwise->second, choices);
  if (written) return *written;
  const at::ScalarType own = stored_dtype(folder, llama);
  return own == at::kHalf && !has_float16(device) ? at::kFloat : own;
}

CheckpointSpec::CheckpointSpec(const Config& block) : path(model_folder(block)) {
  if (!block.has("ignore_tensors")) return;
  ignore_tensors = block.get<std::vector<std::string>>("ignore_tensors");
  for (const std::string& glob : ignore_tensors) {
    try {
      glob_matches(glob, "");
    } catch (const Error& error) {
      block.at("ignore_tensors").fail(error.what());
    }
  }
}

ModelSpec::ModelSpec(const Config& config, const LlamaConfig& llama)
    : CheckpointSpec(config),
      device(config.get<std::string>("device", "auto")),
      weights(config.get_choice<LayerWeights>("weights", LayerWeights::automatic,
                                              {{"resident", LayerWeights::resident},
                                               {"streamed", LayerWeights::streamed},
                                               {"auto", LayerWeights::automatic}})),
      bfloat16_rope(config.get_choice<bool>("rope_dtype", false, {{"float32", false}, {"bfloat16", true}})) {
  try {
    ops::check_device_name(device);
  } catch (const Error& error) {
    config.at("device").fail(error.what());
  }
  dtype = weight_dtype(config, "auto", path, llama, device);
}

}  // namespace qroar
