// fp8: 8-bit floats (e4m3fn or e5m2) with one float32 scale per group, row or tensor; saturating.  See
// ops/small_float.h.
#include "ops/small_float.h"
#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

class Fp8 : public Quantizer {
 public:
  explicit Fp8(const Config& config)
      : config_(config), group_(config.get<int64_t>("group", 0, {-1, int64_t{1} << 31})) {
    format_ = *config.get_choice<const ops::FloatFormat*>("format", &ops::kE4M3,
                                                          {{"e4m3", &ops::kE4M3}, {"e5m2", &ops::kE5M2}});
  }

  void check_site(const LinearSite& site) const override { check_group(config_, group_, site); }

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    return ops::scaled_float_fake_quant(weight_OI, group_, format_);
  }

  std::vector<at::Tensor> groups(const at::Tensor& x_RC) const override { return {rows_of_groups(group_, x_RC)}; }

  std::function<at::Tensor(const at::Tensor&)> with_range(const at::Tensor& lo, const at::Tensor& hi) const override {
    if (group_ >= 0) return {};
    const at::Tensor largest = at::maximum(lo.abs(), hi.abs());
    const at::Tensor scale =
        at::where(largest == 0, at::ones_like(largest), largest / at::full_like(largest, format_.largest));
    return [scale, format = format_](const at::Tensor& x) {
      return (ops::round_to(x.to(at::kFloat) / scale, format) * scale).to(x.scalar_type());
    };
  }

  double bits_per_weight(const LinearSite& site) const override {
    return 8 + 32.0 * static_cast<double>(group_count(group_, site)) / static_cast<double>(site.rows * site.columns);
  }

  std::optional<std::string> couples_rows(const LinearSite&) const override { return group_couples_rows(group_); }
  RowScaling commutes_with_row_scaling(const LinearSite&) const override {
    return group_ >= 0 ? RowScaling::any : RowScaling::differs;
  }

 private:
  Config config_;
  int64_t group_;
  ops::FloatFormat format_{};
};

const Register<Quantizer, Fp8> kFp8{
    "fp8", "8-bit floats, format: e4m3 | e5m2; group > 0 along the inputs, 0 per row, -1 per tensor",
    "{type: fp8, format: e4m3, group: 0}"};

}  // namespace
}  // namespace qroar
