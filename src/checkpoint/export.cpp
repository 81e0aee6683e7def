#include "checkpoint/export.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/tensors.h"
#include "config/registry.h"
#include "model/family.h"
#include "model/site.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

/// The files that transformers' tokenizers and generate() read in addition to the model.
constexpr const char* kCopied[] = {
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json",     "merges.txt",      "chat_template.jinja",   "chat_template.json",      "generation_config.json"};
constexpr const char* kImported = "imported.json";

/// Frequencies up to this count as 0: within 2^31 tokens such a pair rotates by 1e-20 radians.
constexpr double kStandstill = 1e-29;

bool is_tied(const Llama& model) {
  return model.lm_head.weight_OI.const_data_ptr() == model.embed_tokens_VD.const_data_ptr();
}

void check_transforms(const Llama& model) {
  for (const DecoderLayer& layer : model.layers) {
    check(layer.is_plain(), "an exported model does nothing to activations");
  }
  check(!model.lm_head.transforms_input(), "an exported model does nothing to activations");
}

}  // namespace

std::set<std::string> files_of_export(const fs::path& folder) {
  const Json marker = try_read_json_object(folder / kExportMarker).value_or(Json::object());
  const Json& files = value_at(marker, "/files");
  std::set<std::string> names;
  if (!files.is_array()) return names;
  for (const Json& name : files) {
    if (name.is_string()) names.insert(name.get<std::string>());
  }
  return names;
}

namespace {

/// Returns the module that holds a linear layer in transformers: "model.layers.0.self_attn.qkv_proj".
std::string module_of(const Family& family, const LlamaConfig& config, const std::string& site) {
  const std::string layer = layer_of(site), own = name_in_layer(site);
  const std::optional<StoredRows> part = family.stored_in(config, own);
  return (layer.empty() ? "" : "model.") + layer + (part ? part->name : own);
}

/// Returns the model's tensors under the names of its family.
TensorMap named_tensors(Llama model) {
  const std::unique_ptr<Family> family = family_of(model.config.model_type);
  TensorMap tensors{{"model.embed_tokens.weight", model.embed_tokens_VD}, {"model.norm.weight", model.norm_D}};
  for (const DecoderLayer& layer : model.layers) {
    tensors["model." + layer.site + ".input_layernorm.weight"] = layer.input_norm_D;
    tensors["model." + layer.site + ".post_attention_layernorm.weight"] = layer.post_attention_norm_D;
    if (!layer.q_norm_d.defined()) continue;
    tensors["model." + layer.site + ".self_attn.q_norm.weight"] = layer.q_norm_d;
    tensors["model." + layer.site + ".self_attn.k_norm.weight"] = layer.k_norm_d;
  }
  const bool tied = is_tied(model);
  model.each_linear([&](const Linear& linear) {
    const bool is_head = linear.site == "lm_head";
    check(linear.bias_O.defined() == (!is_head && has_bias(model.config, linear.site)),
          "biases are as config.json says");
    if (is_head && tied) return;
    const std::string name = module_of(*family, model.config, linear.site);
    /// Stores the rows after those of the module's earlier layers: each_linear() visits them in that order.
    const auto store = [&](const char* kind, const at::Tensor& x) {
      at::Tensor& stored = tensors[name + kind];
      stored = stored.defined() ? at::cat({stored, x}) : x;
    };
    store(".weight", linear.weight_OI);
    if (linear.bias_O.defined()) store(".bias", linear.bias_O);
  });
  for (const auto& [name, tensor] : tensors) {
    check(tensor.scalar_type() == model.embed_tokens_VD.scalar_type(), "all weights are of one dtype");
  }
  return tensors;
}

/// Returns the exported config.json.  Uses the older names torch_dtype and rope_scaling beside rope_theta, which
/// transformers 4 and 5 both read.
Json config_json(const Llama& model, const EvaluatedRope& rope, const fs::path& source) {
  Json config = read_json_object(source / "config.json");
  for (const char* name : {"dtype", "rope_parameters", "rope_scaling", "original_max_position_embeddings"}) {
    config.erase(name);
  }
  config["torch_dtype"] = dtype_text(model.embed_tokens_VD.scalar_type());
  config["tie_word_embeddings"] = is_tied(model);
  config.update(exported_rope(rope));
  // A family's readers may take a default of their own for this length where it stands among the RoPE parameters alone.
  constexpr const char* kOriginal = "original_max_position_embeddings";
  Json completed = config;
  family_of(model.config.model_type)->complete(completed);
  if (completed.contains(kOriginal)) config[kOriginal] = rope.geometry.trained_length;
  if (model.config.partial_rotary_factor != 1) config[kPartialRotary] = model.config.partial_rotary_factor;
  return config;
}

/// Replaces the weights of the layers that `grids` name by codes, and says so in the config.
void pack(Llama model, const PackedGrids& grids, TensorMap& tensors, Json& config) {
  const std::unique_ptr<Family> family = family_of(model.config.model_type);
  std::map<std::string, std::optional<PackedGrid>> modules;
  model.each_linear([&](const Linear& linear) {
    const auto found = grids.find(linear.site);
    const auto grid = found == grids.end() ? std::nullopt : std::optional(found->second);
    const std::string module = module_of(*family, model.config, linear.site);
    if (const auto other = modules.emplace(module, grid); other.first->second != grid)
      fail("export: {} holds layers of several grids; give them one rule", module);
  });
  PackedGrids packed;
  std::vector<std::string> others;
  for (const auto& [module, grid] : modules) {
    if (!grid) {
      others.push_back(module);
      continue;
    }
    packed[module] = *grid;
    const auto weight = tensors.find(module + ".weight");
    const std::optional<TensorMap> codes = packed_tensors(weight->second, *grid);
    if (!codes) fail("export: the weight of {} is on no grid of 4 bits with scales in its own dtype", module);
    tensors.erase(weight);
    for (const auto& [kind, tensor] : *codes) tensors[module + "." + kind] = tensor;
  }
  config["quantization_config"] = packed_config(packed, others);
}

/// Compares with a relative tolerance, as a division and its inverse round twice.
bool is_near(double found, double expected) {
  return std::abs(found - expected) <= std::max(1e-15 * std::abs(expected), kStandstill);
}

/// Checks that this program reads the exported config.json back as the same RoPE, as the export can itself be
/// evaluated.
void check_reads_back(const fs::path& folder, const EvaluatedRope& rope) {
  const LlamaConfig read = LlamaConfig::load(folder);
  const auto scheme = Registry<RopeScheme>::instance().build(Config::parse("{type: model}", "export"));
  for (const auto& [length, expected] : rope.tables) {
    const RopeTable found = scheme->table(read.rope_geometry(length), length);
    check(is_near(found.attention_factor, expected.attention_factor) &&
              std::ranges::equal(found.inv_freq, expected.inv_freq, is_near),
          "an exported config.json says what was evaluated");
  }
}

}  // namespace

fs::path export_target(const fs::path& folder) {
  const fs::path path = fs::weakly_canonical(fs::absolute(folder));
  return path.has_filename() ? path : path.parent_path();
}

void check_replaceable(const fs::path& folder) {
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

void export_model(const Llama& model, const EvaluatedRope& rope, const fs::path& source, const fs::path& folder,
                  const Json& provenance, const PackedGrids& grids, const Json& imported) {
  check_transforms(model);
  const fs::path target = export_target(folder);
  check_replaceable(target);
  Json config = config_json(model, rope, source);
  TensorMap tensors = named_tensors(model);
  const Json plain = config;
  if (!grids.empty()) pack(model, grids, tensors, config);
  write_folder_atomically(target, [&](const fs::path& filling) {
    Json files = Json::array({"config.json", "model.safetensors", kExportMarker});
    write_file_atomically(filling / "config.json", plain.dump(1) + "\n");
    check_reads_back(filling, rope);
    write_file_atomically(filling / "config.json", config.dump(1) + "\n");
    for (const char* name : kCopied) {
      if (!fs::exists(source / name)) continue;
      write_file_atomically(filling / name, read_file(source / name));
      files.push_back(name);
    }
    if (!imported.is_null()) {
      write_file_atomically(filling / kImported, imported.dump(1) + "\n");
      files.push_back(kImported);
    }
    write_tensors(filling / "model.safetensors", tensors);
    const Json marker{{"source", source.string()},
                      {"trained_length", rope.geometry.trained_length},
                      {"length", rope.geometry.target_length},
                      {"provenance", provenance},
                      {"files", files}};
    write_file_atomically(filling / kExportMarker, marker.dump(1) + "\n");
  });
}

}  // namespace qroar
