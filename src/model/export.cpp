#include "model/export.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "model/tensors.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

/// What transformers' tokenizers and generate() read beside the model.
constexpr const char* kCopied[] = {
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json",     "merges.txt",      "chat_template.jinja",   "chat_template.json",      "generation_config.json"};

/// In place of an infinite divisor: within 2^31 tokens such a pair turns by 1e-20 radians, cos is 1 and sin vanishes.
/// In float32, theta^(2i/d) times it may overflow, which gives a frequency of 0.
constexpr double kStandstillFactor = 1e30;

bool is_tied(const Llama& model) {
  return model.lm_head.weight_OI.const_data_ptr() == model.embed_tokens_VD.const_data_ptr();
}

void refuse_transforms(const Llama& model) {
  const auto refuse = [](const Transform& transform, const std::string& site) {
    if (transform.function) {
      fail(
          "{}: activations are quantized or rotated as the model runs, which weights in a folder cannot hold; export "
          "without `input`, `kv` and the rotation's `online`",
          site);
    }
  };
  for (const DecoderLayer& layer : model.layers) {
    for (const auto linear : kLayerLinears) refuse((layer.*linear).input, (layer.*linear).site);
    const HeadTransforms& heads = layer.heads;
    for (const Transform* transform : {&heads.rotate, &heads.query, &heads.key_before_rope, &heads.key, &heads.value}) {
      refuse(*transform, layer.site + ".self_attn");
    }
  }
  refuse(model.lm_head.input, model.lm_head.site);
}

/// What an earlier export says that it wrote; nothing without a marker that can be read.
std::set<std::string> files_of_export(const fs::path& folder) {
  if (!fs::exists(folder / kExportMarker)) return {};
  const Json marker = Json::parse(read_file(folder / kExportMarker), nullptr, false);
  if (!marker.is_object() || !marker.contains("files") || !marker["files"].is_array()) return {};
  std::set<std::string> names;
  for (const Json& name : marker["files"]) {
    if (name.is_string()) names.insert(name.get<std::string>());
  }
  return names;
}

void refuse_foreign(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  if (!fs::is_directory(folder)) fail("{}: is a file; name a folder to export to", folder.string());
  const std::set<std::string> ours = files_of_export(folder);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!ours.contains(name) || !entry.is_regular_file()) {
      fail("{}: not replaced, since '{}' in it is of no earlier export; name a new or an empty folder", folder.string(),
           name);
    }
  }
}

/// Under Hugging Face's names.
TensorMap named_tensors(Llama model) {
  TensorMap tensors{{"model.embed_tokens.weight", model.embed_tokens_VD}, {"model.norm.weight", model.norm_D}};
  for (const DecoderLayer& layer : model.layers) {
    tensors["model." + layer.site + ".input_layernorm.weight"] = layer.input_norm_D;
    tensors["model." + layer.site + ".post_attention_layernorm.weight"] = layer.post_attention_norm_D;
  }
  const bool tied = is_tied(model);
  model.each_linear([&](const Linear& linear) {
    const bool is_head = linear.site == "lm_head", in_mlp = linear.site.find(".mlp.") != std::string::npos;
    const bool has_bias = !is_head && (in_mlp ? model.config.mlp_bias : model.config.attention_bias);
    check(linear.bias_O.defined() == has_bias, "biases are as config.json says");
    if (is_head && tied) return;
    const std::string name = (is_head ? "" : "model.") + linear.site;
    tensors[name + ".weight"] = linear.weight_OI;
    if (has_bias) tensors[name + ".bias"] = linear.bias_O;
  });
  for (const auto& [name, tensor] : tensors) {
    check(tensor.scalar_type() == model.embed_tokens_VD.scalar_type(), "all weights are of one dtype");
  }
  return tensors;
}

const char* dtype_text(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16: return "bfloat16";
    case at::kHalf: return "float16";
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    default: fail("a model of dtype {} is not exported", at::toString(dtype));
  }
}

/// Null for plain RoPE.
Json rope_scaling(const LlamaConfig& config, const RopeTable& table, int64_t trained_length, int64_t length) {
  const std::vector<double> base = base_frequencies(config.head_dim, config.rope_theta);
  check(table.inv_freq.size() == base.size(), "the table is of the model's heads");
  if (table.inv_freq == base && table.attention_factor == 1) return nullptr;
  std::vector<double> divisors;
  for (std::size_t i = 0; i < base.size(); ++i) {
    divisors.push_back(std::min(base[i] / table.inv_freq[i], kStandstillFactor));
  }
  return {{"rope_type", "longrope"},
          {"factor", std::max(1.0, static_cast<double>(length) / static_cast<double>(trained_length))},
          {"attention_factor", table.attention_factor},
          {"original_max_position_embeddings", trained_length},
          {"short_factor", divisors},
          {"long_factor", divisors}};
}

/// Of several spellings of one thing it has the older ones, torch_dtype and rope_scaling beside rope_theta, which
/// transformers 4 and 5 both read.
Json config_json(const Llama& model, const RopeTable& table, int64_t trained_length, int64_t length,
                 const fs::path& source) {
  const fs::path path = source / "config.json";
  Json config = Json::parse(read_file(path), nullptr, false);
  if (!config.is_object()) fail("{}: not a JSON object", path.string());
  for (const char* name : {"dtype", "rope_parameters", "rope_scaling", "original_max_position_embeddings"}) {
    config.erase(name);
  }
  config["architectures"] = Json::array({"LlamaForCausalLM"});
  config["torch_dtype"] = dtype_text(model.embed_tokens_VD.scalar_type());
  config["tie_word_embeddings"] = is_tied(model);
  config["max_position_embeddings"] = std::max(trained_length, length);
  config["rope_theta"] = model.config.rope_theta;
  Json scaling = rope_scaling(model.config, table, trained_length, length);
  if (!scaling.is_null()) config["rope_scaling"] = std::move(scaling);
  return config;
}

/// Absolute, through links, without a slash at its end: what stands beside it is beside its contents.
fs::path resolved(const fs::path& folder) {
  const fs::path path = fs::weakly_canonical(fs::absolute(folder));
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

void export_model(const Llama& model, const RopeTable& table, int64_t trained_length, int64_t length,
                  const fs::path& source, const fs::path& folder, const Json& provenance) {
  refuse_transforms(model);
  const fs::path target = resolved(folder);
  refuse_foreign(target);
  const Json config = config_json(model, table, trained_length, length, source);
  const TensorMap tensors = named_tensors(model);
  write_folder_atomically(target, [&](const fs::path& filling) {
    Json files = Json::array({"config.json", "model.safetensors", kExportMarker});
    write_file_atomically(filling / "config.json", config.dump(1) + "\n");
    for (const char* name : kCopied) {
      if (!fs::exists(source / name)) continue;
      write_file_atomically(filling / name, read_file(source / name));
      files.push_back(name);
    }
    write_tensors(filling / "model.safetensors", tensors);
    const Json marker{{"source", source.string()},
                      {"trained_length", trained_length},
                      {"length", length},
                      {"provenance", provenance},
                      {"files", files}};
    write_file_atomically(filling / kExportMarker, marker.dump(1) + "\n");
  });
}

}  // namespace qroar
