// Q-ROAR's band rescaling (arXiv 2509.14391, 2510.00028; our reconstruction, docs/method.md 4): one scale per band
// of RoPE pairs, given inline, in a file that a search wrote, or found by a search.
#include "rope/bands.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "rescale/band_scales.h"

namespace qroar {
namespace {

/// Reads one layer's numbers: a list, or {q: list, k: list}.
std::vector<double> read_row(const Config& row, BandVariant variant) {
  if (variant != BandVariant::independent) return row.as<std::vector<double>>();
  auto g = row.get<std::vector<double>>("q");
  const auto k = row.get<std::vector<double>>("k");
  g.insert(g.end(), k.begin(), k.end());
  return g;
}

void check_scales(const Config& place, const std::vector<double>& row, int64_t expected) {
  if (std::ssize(row) != expected) {
    place.fail(fmt::format("{} scales, and these bands take {} a layer", row.size(), expected));
  }
  for (const double g : row) {
    const bool usable = g > 0 && std::isfinite(g);
    if (!usable) place.fail(fmt::format("a scale must be positive and finite, found {}", g));
  }
}

class Bands : public Rescaling {
 public:
  explicit Bands(const Config& config) : config_(config) {
    const bool inline_scales = config.has("scales"), file = config.has("file");
    searched_ = config.has("search");  // read by the search itself
    if (inline_scales + file + searched_ != 1) {
      config.fail("give one of scales: [g, ...], file: SCALES.json and search: {...}");
    }
    if (file) {
      read_file_scales(config.at("file"));
      return;
    }
    scales_.layout.variant = config.get_choice<BandVariant>("variant", BandVariant::shared, band_variants());
    per_layer_ = config.get<bool>("per_layer", false);
    per_head_ = config.get<bool>("per_head", false);
    if (per_head_ && inline_scales) config.at("per_head").fail("a search finds such scales; a file of its keeps them");
    if (config.has("edges")) {
      scales_.layout.edges = config.get<std::vector<int64_t>>("edges");
      check_edges(config.at("edges"), scales_.layout.edges);
    } else {
      bands_.emplace(config);
    }
    if (inline_scales) read_inline_scales(config.at("scales"));
  }

  void bind(const LlamaConfig& llama) override {
    const int64_t pairs = llama.pairs();
    BandLayout& layout = scales_.layout;
    if (bands_) layout.edges = bands_->edges(pairs);
    if (layout.edges.back() != pairs) {
      config_.fail(fmt::format("the bands' edges end at pair {} and head_dim {} has {} pairs; end them there",
                               layout.edges.back(), llama.head_dim, pairs));
    }
    if (per_layer_) layout.layers = llama.num_hidden_layers;
    if (per_head_) layout.heads = llama.num_key_value_heads;
    if (layout.heads > 1 && llama.qk_norm) {
      config_.fail("all heads share the norm of queries and keys, which takes the scales; leave out per_head");
    }
    if (searched_) return;
    if (layout.layers != 1 && layout.layers != llama.num_hidden_layers) {
      config_.fail(fmt::format("scales for {} layers, and the model has {}", layout.layers, llama.num_hidden_layers));
    }
    if (std::ssize(rows_) != layout.layers) {
      config_.fail(fmt::format("{} rows of scales for {} layers; give one row a layer, or per_layer: false and one row",
                               rows_.size(), layout.layers));
    }
    if (layout.heads != 1 && layout.heads != llama.num_key_value_heads) {
      config_.fail(
          fmt::format("scales for {} heads, and the model has {} of keys", layout.heads, llama.num_key_value_heads));
    }
    scales_.g.clear();
    for (const auto& row : rows_) {
      check_scales(config_, row, layout.row());
      scales_.g.insert(scales_.g.end(), row.begin(), row.end());
    }
  }

  void check_checkpoint(const std::string& hash) const override {
    if (model_.empty() || model_ == hash) return;
    config_.at("file").fail(
        fmt::format("these scales were found for the model with hash {} and this one's is {}; search again, or "
                    "write them inline as scales: [...]",
                    model_, hash));
  }

  void apply(Llama& model) const override { scale_bands(scales_, model); }
  Json weights_key() const override { return searched_ ? Json() : to_json(scales_, model_); }
  const BandLayout* unscaled_bands() const override { return searched_ ? &scales_.layout : nullptr; }

 private:
  void read_inline_scales(const Config& place) {
    const bool independent = scales_.layout.variant == BandVariant::independent;
    if (per_layer_) {
      for (const Config& row : place.items()) rows_.push_back(read_row(row, scales_.layout.variant));
    } else {
      if (independent && place.kind() != Config::Kind::map) place.fail("expected {q: [g, ...], k: [g, ...]}");
      rows_.push_back(read_row(place, scales_.layout.variant));
    }
  }

  void read_file_scales(const Config& place) {
    const std::filesystem::path path = place.as_file();
    const Json json = read_json_object(path, "a search writes such files");
    try {
      model_ = json.at("model").get<std::string>();
      scales_.layout.edges = json.at("edges").get<std::vector<int64_t>>();
      rows_ = json.at("scales").get<std::vector<std::vector<double>>>();
      const auto name = json.at("variant").get<std::string>();
      const auto variant = std::ranges::find(band_variants(), name, &std::pair<std::string, BandVariant>::first);
      if (variant == band_variants().end()) place.fail(fmt::format("{}: unknown variant '{}'", path.string(), name));
      scales_.layout.variant = variant->second;
      scales_.layout.heads = json.value("heads", int64_t{1});
    } catch (const Json::exception&) {
      place.fail(fmt::format(
          "{}: no file of scales that a search wrote; it has a model, a variant, edges, and scales of numbers",
          path.string()));
    }
    scales_.layout.layers = std::ssize(rows_);
    check_edges(place, scales_.layout.edges);
  }

  Config config_;
  std::string model_;  ///< hash of the checkpoint that a file's scales were found for
  bool per_layer_ = false, per_head_ = false;
  std::optional<BandsOption> bands_;  ///< empty when the edges are given
  std::vector<std::vector<double>> rows_;
  BandScales scales_;  ///< complete after bind()
  bool searched_ = false;
};

const Register<Rescaling, Bands> kBands{
    "bands", "Q-ROAR: a scale of queries and keys per band of RoPE pairs, given or searched (docs/method.md 4)",
    "{type: bands, variant: shared, bands: 3, scales: [1, 1.05, 0.95]}"};

}  // namespace
}  // namespace qroar
