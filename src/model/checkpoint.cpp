#include "model/checkpoint.h"

#include "base/error.h"
#include "base/files.h"
#include "model/site.h"
#include "model/tensors.h"

namespace qroar {

std::filesystem::path model_folder(const Config& block) {
  const Config place = block.at("path");
  const std::filesystem::path path = place.as_path();
  if (!std::filesystem::is_directory(path)) {
    place.fail(path.string() +
               ": no such folder; give a Hugging Face model folder (config.json, *.safetensors, tokenizer.model)");
  }
  return path;
}

at::ScalarType weight_dtype(const Config& block, at::ScalarType fallback) {
  return block.get_choice<at::ScalarType>(
      "dtype", fallback,
      {{"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}, {"float64", at::kDouble}});
}

ModelSpec::ModelSpec(const Config& config)
    : path(model_folder(config)),
      dtype(weight_dtype(config, at::kBFloat16)),
      device(config.get<std::string>("device", "auto")),
      bfloat16_rope(config.get_choice<bool>("rope_dtype", false, {{"float32", false}, {"bfloat16", true}})) {}

Checkpoint::Checkpoint(const std::filesystem::path& folder)
    : folder_(folder), config_(LlamaConfig::load(folder)), files_(open_safetensors(folder)) {}

std::string Checkpoint::hash() const { return hash_bytes(hash_file(folder_ / "config.json") + files_.hash()); }

at::Tensor Checkpoint::tensor(const std::string& name, at::IntArrayRef shape) const {
  const TensorView& view = files_.at(name);
  if (at::IntArrayRef(view.shape) != shape) {
    fail("{}: tensor {} has shape [{}], config.json asks for [{}]", folder_.string(), name, fmt::join(view.shape, ", "),
         fmt::join(shape, ", "));
  }
  return tensor_of(view, fmt::format("{}: tensor {}", folder_.string(), name));
}

Llama Checkpoint::build(at::ScalarType dtype, const at::Device& device) const {
  const int64_t hidden = config_.hidden_size;
  const auto load = [&](const std::string& name, at::IntArrayRef shape) {
    return tensor(name, shape).to(device, dtype);
  };
  const auto load_linear = [&](const LinearSite& site, const std::string& prefix, bool bias) {
    return Linear{load(prefix + site.name + ".weight", {site.rows, site.columns}),
                  bias ? load(prefix + site.name + ".bias", {site.rows}) : at::Tensor(),
                  site.name,
                  {}};
  };
  Llama model{config_,
              load("model.embed_tokens.weight", {config_.vocab_size, hidden}),
              {},
              load("model.norm.weight", {hidden}),
              {}};
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    DecoderLayer layer;
    layer.site = fmt::format("layers.{}", i);
    layer.input_norm_D = load("model." + layer.site + ".input_layernorm.weight", {hidden});
    layer.post_attention_norm_D = load("model." + layer.site + ".post_attention_layernorm.weight", {hidden});
    model.layers.push_back(std::move(layer));
  }
  const std::vector<LinearSite> sites = linear_sites(config_);
  std::size_t next = 0;
  model.each_linear([&](Linear& linear) {
    const LinearSite& here = sites[next++];
    if (here.name == "lm_head") {
      linear =
          config_.tie_word_embeddings ? Linear{model.embed_tokens_VD, {}, here.name, {}} : load_linear(here, "", false);
    } else {
      const bool attention = here.name.find("self_attn") != std::string::npos;
      linear = load_linear(here, "model.", attention ? config_.attention_bias : config_.mlp_bias);
    }
  });
  return model;
}

}  // namespace qroar
