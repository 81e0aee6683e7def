// Round to nearest on a uniform grid per group, row or tensor.  The arithmetic and the sources of its conventions:
// ops/rtn.h.
#include "ops/rtn.h"

#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

class Rtn : public Quantizer {
 public:
  explicit Rtn(const Config& config)
      : config_(config), group_(config.get<int64_t>("group", 128, {-1, int64_t{1} << 31})) {
    grid_.bits = static_cast<int>(config.get<int64_t>("bits", 4, {2, 8}));
    grid_.symmetric = config.get<bool>("symmetric", false);
    grid_.zero = config.get_choice<ops::RtnZero>(
        "zero", ops::RtnZero::plain,
        {{"plain", ops::RtnZero::plain}, {"awq", ops::RtnZero::awq}, {"included", ops::RtnZero::included}});
  }

  void check_site(const LinearSite& site) const override { check_group(config_, group_, site); }

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    return ops::rtn_fake_quant(weight_OI, group_, grid_);
  }

  double bits_per_weight(const LinearSite& site) const override {
    const double groups_per_weight =
        static_cast<double>(group_count(group_, site)) / static_cast<double>(site.rows * site.columns);
    return grid_.bits + groups_per_weight * (16 + (grid_.symmetric ? 0 : grid_.bits));
  }

  bool rows_are_independent() const override { return group_ >= 0; }

  /// awq's floor of 1e-5 under the range does not scale with the row; one group over the tensor shares a scale between
  /// rows.
  RowScaling commutes_with_row_scaling(const LinearSite&) const override {
    return group_ >= 0 && grid_.zero != ops::RtnZero::awq ? RowScaling::any : RowScaling::differs;
  }

 private:
  Config config_;
  int64_t group_;
  ops::RtnGrid grid_;
};

const Register<Quantizer, Rtn> kRtn{
    "rtn", "round to nearest; group > 0 along the inputs, 0 per row, -1 per tensor; zero: plain | awq | included",
    "{type: rtn, bits: 4, group: 64, symmetric: false, zero: plain}"};

}  // namespace
}  // namespace qroar
