#include "checkpoint/checkpoint.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/mapped_file.h"
#include "checkpoint/tensors.h"
#include "model/site.h"

namespace qroar {
namespace {

constexpr const char* kHead = "lm_head.weight";

}  // namespace

int64_t all_of(const WeightCounts& counts) {
  int64_t sum = 0;
  for (const auto& [dtype, count] : counts) sum += count;
  return sum;
}

Checkpoint::Checkpoint(const CheckpointSpec& spec)
    : spec_(spec), config_(LlamaConfig::load(spec.path)), files_(open_safetensors(spec.path)) {
  if (std::filesystem::exists(spec.path / "adapter_config.json")) {
    fail("{}: holds an adapter (adapter_config.json), which is not applied; merge it into the weights, or move it away",
         spec.path.string());
  }
  prefix_ = files_.has("embed_tokens.weight") ? "" : "model.";
  std::set<std::string> read;
  assemble(
      [&](const std::string& name, at::IntArrayRef shape, const StoredRows*) {
        const std::string place = fmt::format("{}: tensor {}", spec.path.string(), name);
        const at::ScalarType stored = floating_type(view(name, shape).dtype, place);
        if (read.insert(name).second) weights_[stored] += c10::multiply_integers(shape);
        return at::Tensor();
      },
      /*streamed=*/false);
  check_all_read(read);
}

void Checkpoint::check_all_read(const std::set<std::string>& read) const {
  const auto named_by = [](const std::string& name) {
    return [&name](const std::string& glob) { return glob_matches(glob, name); };
  };
  std::vector<std::string> unread, unused = spec_.ignore_tensors;
  for (const std::string& name : files_.names()) {
    if (read.contains(name)) continue;
    std::erase_if(unused, named_by(name));
    const bool is_mask = files_.at(name).dtype == Dtype::boolean;
    const bool known = is_mask || is_derived_tensor(name) || std::ranges::any_of(spec_.ignore_tensors, named_by(name));
    if (!known) unread.push_back(name);
  }
  if (!unused.empty()) {
    fail("{}: model.ignore_tensors names '{}', but no unread tensor has such a name", spec_.path.string(),
         unused.front());
  }
  if (unread.empty()) return;
  constexpr std::size_t kNamed = 4;
  const std::size_t named = std::min(unread.size(), kNamed);
  fail(
      "{}: {} tensor{} in it {} no part of the model that its config.json describes: {}{}; the result would be another "
      "model's; where they do not matter, say model.ignore_tensors: [\"GLOB\", ...]",
      spec_.path.string(), unread.size(), unread.size() == 1 ? "" : "s", unread.size() == 1 ? "is" : "are",
      fmt::join(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(named), ", "),
      unread.size() > named ? " ..." : "");
}

std::string Checkpoint::hash() const { return hash_bytes(config_.hash + files_.hash()); }

void Checkpoint::check_unchanged() const {
  files_.check_unchanged();
  const std::filesystem::path config = spec_.path / "config.json";
  if (hash_file(config) != config_.hash) fail("{}: changed while it was read; run again", config.string());
}

const TensorView& Checkpoint::view(const std::string& name, at::IntArrayRef shape) const {
  if (name == kHead && !files_.has(name)) {
    fail(
        "{}: the checkpoint has no tensor lm_head.weight, and its config.json does not say tie_word_embeddings: true; "
        "it was saved without its head",
        spec_.path.string());
  }
  const TensorView& view = files_.at(name);
  if (at::IntArrayRef(view.shape) != shape) {
    fail("{}: tensor {} has shape [{}], config.json asks for [{}]", spec_.path.string(), name,
         fmt::join(view.shape, ", "), fmt::join(shape, ", "));
  }
  return view;
}

std::vector<TensorView> Checkpoint::views_of(const std::string& module) const {
  std::vector<TensorView> views;
  for (const std::string& name : files_.names()) {
    if (name.starts_with(prefix_ + module)) views.push_back(files_.at(name));
  }
  return views;
}

Llama Checkpoint::build(at::ScalarType dtype, const at::Device& device, bool streamed) const {
  const Load load = [this, dtype, device](const std::string& name, at::IntArrayRef shape, const StoredRows* rows) {
    const at::Tensor stored = tensor_of(view(name, shape), fmt::format("{}: tensor {}", spec_.path.string(), name));
    return (rows == nullptr ? stored : stored.narrow(0, rows->first, rows->count)).to(device, dtype);
  };
  Llama model = assemble(load, streamed);
  if (streamed) {
    for (DecoderLayer& layer : model.layers) {
      layer.read_ahead = [views = views_of(layer.site + ".")] {
        for (const TensorView& view : views) read_ahead(view.data, static_cast<std::size_t>(view.bytes));
      };
    }
  }
  if (!config_.tie_word_embeddings || !files_.has(kHead)) return model;
  if (at::equal(model.lm_head.weight_OI, model.embed_tokens_VD)) {
    model.lm_head.weight_OI = model.embed_tokens_VD;
  } else {
    spdlog::warn(
        "{}: config.json ties lm_head to the embeddings, and lm_head.weight in the checkpoint is another matrix, which "
        "is used, as transformers does",
        spec_.path.string());
  }
  return model;
}

Llama Checkpoint::assemble(const Load& load, bool streamed) const {
  const int64_t hidden = config_.hidden_size;
  const std::unique_ptr<Family> family = family_of(config_.model_type);
  const auto load_linear = [&](const LinearSite& site, bool bias) {
    const std::string layer = layer_of(site.name), name = name_in_layer(site.name);
    std::optional<StoredRows> part = family->stored_in(config_, name);
    const std::string module = (layer.empty() ? "" : prefix_) + layer + (part ? part->name : name);
    const int64_t rows = part ? part->of : site.rows;
    const auto own = [](const std::optional<StoredRows>& of) { return of ? &*of : nullptr; };
    const auto weight = [=, columns = site.columns] { return load(module + ".weight", {rows, columns}, own(part)); };
    const bool later = streamed && !layer.empty();
    return Linear{{later ? at::Tensor() : weight(), bias ? load(module + ".bias", {rows}, own(part)) : at::Tensor()},
                  site.name,
                  {},
                  later ? std::function<at::Tensor()>(weight) : nullptr};
  };
  const auto load_norm = [&](const std::string& name, int64_t size) {
    return load(prefix_ + name + ".weight", {size}, nullptr);
  };
  Llama model{config_,
              load(prefix_ + "embed_tokens.weight", {config_.vocab_size, hidden}, nullptr),
              {},
              load_norm("norm", hidden),
              {}};
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    DecoderLayer layer;
    layer.site = fmt::format("layers.{}", i);
    layer.input_norm_D = load_norm(layer.site + ".input_layernorm", hidden);
    layer.post_attention_norm_D = load_norm(layer.site + ".post_attention_layernorm", hidden);
    if (config_.qk_norm) {
      layer.q_norm_d = load_norm(layer.site + ".self_attn.q_norm", config_.head_dim);
      layer.k_norm_d = load_norm(layer.site + ".self_attn.k_norm", config_.head_dim);
    }
    const LayerConfig& own = config_.layers[static_cast<std::size_t>(i)];
    layer.attention = own.attention;
    layer.heads.rope = own.rope;
    model.layers.push_back(std::move(layer));
  }
  const std::vector<LinearSite> sites = linear_sites(config_);
  std::size_t next = 0;
  model.each_linear([&](Linear& linear) {
    const LinearSite& here = sites[next++];
    if (here.name == "lm_head") {
      const bool tied = config_.tie_word_embeddings && !files_.has(kHead);
      linear = tied ? Linear{{model.embed_tokens_VD, {}}, here.name, {}, {}} : load_linear(here, false);
    } else {
      linear = load_linear(here, has_bias(config_, here.name));
    }
  });
  return model;
}

}  // namespace qroar
