// Round to nearest on a uniform grid per group, row or tensor.  The arithmetic and the sources of its conventions:
// ops/rtn.h.
#include "ops/rtn.h"

#include "quant/quantizer.h"

namespace qroar {
namespace {

/// "32, 64, 96": the sizes of whole groups a row of `columns` can be cut into, the usual powers of two first.
std::string sizes_that_divide(int64_t columns) {
  std::vector<int64_t> sizes;
  for (int64_t size = 16; size <= columns && size <= 1024; size *= 2) {
    if (columns % size == 0) sizes.push_back(size);
  }
  for (int64_t size = 2; size <= columns && sizes.size() < 3; ++size) {
    if (columns % size == 0 && std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  }
  return fmt::format("{}", fmt::join(sizes, ", "));
}

class Rtn : public Quantizer {
 public:
  explicit Rtn(const Config& config)
      : config_(config), group_(config.get<int64_t>("group", 128, {-1, int64_t{1} << 31})) {
    grid_.bits = static_cast<int>(config.get<int64_t>("bits", 4, {2, 8}));
    grid_.symmetric = config.get<bool>("symmetric", false);
    grid_.zero = config.get_choice<ops::RtnZero>(
        "zero", ops::RtnZero::plain,
        {{"plain", ops::RtnZero::plain}, {"awq", ops::RtnZero::awq}, {"included", ops::RtnZero::included}});
    // Not noted as a default: cells that were run before there was a clip keep their ids, as they keep their numbers.
    if (config.has("clip")) {
      grid_.clip = static_cast<float>(config.get<double>("clip", 1.0, {0, 1}));
      if (!(grid_.clip > 0)) config.at("clip").fail("must be above 0: the part of a group's range that its grid keeps");
    }
  }

  void check_site(const LinearSite& site) const override {
    if (group_ > 0 && site.columns % group_ != 0) {
      config_.fail(
          fmt::format("group {} does not divide the {} inputs of {}; sizes that do: {}, or 0 for one group a row",
                      group_, site.columns, site.name, sizes_that_divide(site.columns)));
    }
  }

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    return ops::rtn_fake_quant(weight_OI, group_, grid_);
  }

  double bits_per_weight(const LinearSite& site) const override {
    const auto weights = static_cast<double>(site.rows * site.columns);
    const double groups = group_ < 0    ? 1
                          : group_ == 0 ? static_cast<double>(site.rows)
                                        : weights / static_cast<double>(group_);
    return grid_.bits + groups * (16 + (grid_.symmetric ? 0 : grid_.bits)) / weights;
  }

  bool rows_are_independent() const override { return group_ >= 0; }

  /// awq's floor of 1e-5 under the range does not scale with the row; one group over the tensor shares a scale between
  /// rows.
  bool commutes_with_row_scaling() const override { return group_ >= 0 && grid_.zero != ops::RtnZero::awq; }

 private:
  Config config_;
  int64_t group_;
  ops::RtnGrid grid_;
};

const Register<Quantizer, Rtn> kRtn{
    "rtn",
    "round to nearest; group > 0 along the inputs, 0 per row, -1 per tensor; zero: plain | awq | included; clip <= 1",
    "{type: rtn, bits: 4, group: 64, symmetric: false, zero: plain}"};

}  // namespace
}  // namespace qroar
