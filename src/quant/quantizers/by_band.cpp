// Another quantizer for each band of RoPE pairs, in what consists of heads that RoPE rotates: the rows of q_proj and
// k_proj, or queries and keys of the cache.  Mixed precision by band, and the intervention "round one band only".
#include <ATen/ATen.h>

#include <algorithm>

#include "quant/calibrated.h"
#include "rope/bands.h"

namespace qroar {
namespace {

enum class Axis { rows, columns };

class ByBand : public Quantizer {
 public:
  explicit ByBand(const Config& config)
      : config_(config),
        edges_(config.get<std::vector<int64_t>>("edges")),
        axis_(config.get_choice<Axis>("axis", Axis::rows, {{"rows", Axis::rows}, {"columns", Axis::columns}})) {
    check_edges(config.at("edges"), edges_);
    for (const Config& item : config.at("of").items()) {
      bands_.push_back(Registry<Quantizer>::instance().build(item));
      if (dynamic_cast<const CalibratedQuantizer*>(bands_.back().get()) != nullptr) {
        item.fail("a quantizer that is calibrated sees whole layers; take rtn, nf4 or another one without calibration");
      }
    }
    if (bands_.size() + 1 != edges_.size()) {
      config.at("of").fail(
          fmt::format("{} quantizers for {} bands; give one a band", bands_.size(), edges_.size() - 1));
    }
  }

  void check_site(const LinearSite& site) const override {
    const bool of_cache = site.name.starts_with("kv.");
    if (site.head_dim == 0 || of_cache != (axis_ == Axis::columns)) {
      config_.fail(fmt::format(
          "{} has no bands along its {}; axis: rows is for weights of q_proj and k_proj, axis: columns for `query` and "
          "`key` of `kv` with key_axis: head, where no rotation of queries and keys has mixed their channels",
          site.name, axis_ == Axis::rows ? "rows" : "columns"));
    }
    if (2 * edges_.back() != site.head_dim) {
      config_.at("edges").fail(fmt::format("the edges end at pair {} and head_dim {} has {} pairs; end them there",
                                           edges_.back(), site.head_dim, site.head_dim / 2));
    }
    for (std::size_t band = 0; band < bands_.size(); ++band) bands_[band]->check_site(part_of(site, band));
  }

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    at::Tensor out_OI = at::empty_like(weight_OI);
    for (std::size_t band = 0; band < bands_.size(); ++band) {
      const at::Tensor own = channels_of(band, weight_OI);
      const at::Tensor part = weight_OI.index_select(dim(), own);
      out_OI.index_copy_(dim(), own, bands_[band]->fake_quantize(part));
    }
    return out_OI;
  }

  std::vector<at::Tensor> groups(const at::Tensor& x_RC) const override {
    std::vector<at::Tensor> found;
    for (std::size_t band = 0; band < bands_.size(); ++band) {
      for (const at::Tensor& own_NS : bands_[band]->groups(x_RC.index_select(dim(), channels_of(band, x_RC)))) {
        found.push_back(own_NS);
      }
    }
    return found;
  }

  double bits_per_weight(const LinearSite& site) const override {
    double bits = 0;
    for (std::size_t band = 0; band < bands_.size(); ++band) {
      const LinearSite part = part_of(site, band);
      bits += bands_[band]->bits_per_weight(part) * static_cast<double>(part.rows * part.columns);
    }
    return bits / static_cast<double>(site.rows * site.columns);
  }

  std::optional<std::string> couples_rows(const LinearSite& site) const override {
    if (axis_ == Axis::rows) return "each row has the format of its band; axis: columns is for activations";
    for (std::size_t band = 0; band < bands_.size(); ++band) {
      if (auto coupling = bands_[band]->couples_rows(part_of(site, band))) return coupling;
    }
    return std::nullopt;
  }

  RowScaling commutes_with_row_scaling(const LinearSite& site) const override {
    RowScaling least = RowScaling::any;
    for (std::size_t band = 0; band < bands_.size(); ++band) {
      least = std::min(least, bands_[band]->commutes_with_row_scaling(part_of(site, band)));
    }
    return least;
  }

  bool keeps_zero() const override { return std::ranges::all_of(bands_, &Quantizer::keeps_zero, get); }
  bool idempotent() const override { return std::ranges::all_of(bands_, &Quantizer::idempotent, get); }

 private:
  static const Quantizer& get(const std::unique_ptr<Quantizer>& quantizer) { return *quantizer; }

  int64_t dim() const { return axis_ == Axis::rows ? 0 : 1; }

  /// Returns the numbers of a band's rows or columns of a matrix.
  at::Tensor channels_of(std::size_t band, const at::Tensor& x_OI) const {
    const at::Tensor channel = at::arange(x_OI.size(dim()), x_OI.options().dtype(at::kLong));
    const at::Tensor pair = channel.remainder(2 * edges_.back()).remainder(edges_.back());
    return channel.masked_select((pair >= edges_[band]).logical_and(pair < edges_[band + 1]));
  }

  /// Returns the matrix that a band's quantizer gets.
  LinearSite part_of(const LinearSite& site, std::size_t band) const {
    const int64_t pairs = edges_[band + 1] - edges_[band];
    LinearSite part{site.name, site.rows, site.columns};
    (axis_ == Axis::rows ? part.rows : part.columns) =
        (axis_ == Axis::rows ? site.rows : site.columns) * pairs / edges_.back();
    return part;
  }

  Config config_;
  std::vector<int64_t> edges_;
  Axis axis_;
  std::vector<std::unique_ptr<Quantizer>> bands_;
};

const Register<Quantizer, ByBand> kByBand{
    "by_band",
    "a quantizer for each band of RoPE pairs; axis rows: weights of q_proj, k_proj; columns: kv.query, kv.key",
    "{type: by_band, edges: [0, 2, 4], of: [{type: rtn, bits: 8, group: 0}, {type: rtn, bits: 4, group: 0}]}"};

}  // namespace
}  // namespace qroar
