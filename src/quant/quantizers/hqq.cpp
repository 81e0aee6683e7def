// hqq: half-quadratic quantization (mobiusml/hqq, quantize.py and optimize.py's default solver): an asymmetric grid
// whose fractional zero point is fitted to an l_p norm of the error without data.  beta is multiplied by kappa in each
// iteration, as in hqq's paper and first releases; 0.2.8 keeps it constant, which is kappa 1.  Without:
// rounding the zero, quantized scales and zeros, the solvers that also move the scale.  Contract: float32 on the
// weight's device, where hqq itself uses float16 on a GPU; its means and powers may differ in the last bits between
// devices.
#include <ATen/ATen.h>

#include <limits>

#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

class Hqq : public Quantizer {
 public:
  explicit Hqq(const Config& config)
      : config_(config),
        bits_(config.get<int64_t>("bits", 4, {1, 8})),
        group_(config.get<int64_t>("group", 64, {0, int64_t{1} << 31})),
        axis_(config.get<int64_t>("axis", 0, {0, 1})),
        iterations_(config.get<int64_t>("iterations", 20, {1, 1000})),
        p_(config.get<double>("p", 0.7, {0.1, 1.0})),
        beta_(config.get<double>("beta", 10, {1e-6, 1e6})),
        kappa_(config.get<double>("kappa", 1.01, {1, 10})) {
    if (config.has("scale_dtype")) {
      stored_ = config.get_choice<at::ScalarType>(
          "scale_dtype", at::kFloat, {{"float32", at::kFloat}, {"float16", at::kHalf}, {"bfloat16", at::kBFloat16}});
    }
  }

  void check_site(const LinearSite& site) const override {
    if (axis_ == 1) return check_group(config_, group_, site);
    if (group_ > 0 && site.rows % group_ != 0) {
      config_.fail(fmt::format(
          "group {} does not divide the {} outputs of {} (axis 0); sizes that do: {}, or 0 for one group a column",
          group_, site.rows, site.name, sizes_that_divide(site.rows)));
    }
  }

  /// axis 1: a group is `group` consecutive inputs of a row (0: the whole row).  axis 0, hqq's default: the matrix is
  /// reshaped to [group, -1], so that a group is every (rows / group)-th weight of a column (0: the whole column).
  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    const int64_t group = group_ > 0 ? group_ : weight_OI.size(axis_);
    const at::Tensor w =
        weight_OI.to(at::kFloat).view(axis_ == 1 ? at::DimVector{-1, group} : at::DimVector{group, -1});
    return quantize(w).view(weight_OI.sizes()).to(weight_OI.scalar_type());
  }

  double bits_per_weight(const LinearSite& site) const override {
    const int64_t group = group_ > 0 ? group_ : axis_ == 1 ? site.columns : site.rows;
    return static_cast<double>(bits_) + 32.0 / static_cast<double>(group);  // scale and zero in float16
  }

  std::optional<std::string> couples_rows(const LinearSite&) const override {
    return "its solver stops by the mean error of all rows; take another type, such as rtn with group: 0";
  }
  /// beta, the cap on the scale and the smallest range are absolute constants, independent of the weight's unit.
  RowScaling commutes_with_row_scaling(const LinearSite&) const override { return RowScaling::differs; }
  bool keeps_zero() const override { return false; }

 private:
  /// Computes q = clamp(round(w * inverse_scale + zero), 0, 2^bits - 1) and returns w' = (q - zero) / inverse_scale.
  at::Tensor quantize(const at::Tensor& w) const {
    const double top = (1 << bits_) - 1;
    const at::Tensor lo = w.amin(axis_, /*keepdim=*/true), range = w.amax(axis_, true) - lo;
    const at::Tensor one = at::ones_like(range);
    // A reciprocal and a product, as in Python's `levels / range`.  A range up to 1e-4 gets the scale 1 and so becomes
    // a constant; the cap 2e4 keeps the scale within float16.
    const at::Tensor inverse_scale = at::where(range <= 1e-4, one, one / range * top).clamp_max(2e4);
    const auto codes = [&](const at::Tensor& zero) { return at::round(w * inverse_scale + zero).clamp(0, top); };
    at::Tensor zero = -lo * inverse_scale;
    double beta = beta_;
    float best_error = std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < iterations_; ++i) {
      const at::Tensor q = codes(zero), error = w - (q - zero) / inverse_scale;
      zero = (q - (w - shrink(error, beta)) * inverse_scale).mean(axis_, /*keepdim=*/true);
      beta *= kappa_;
      // As in hqq, the zero that results from the first iteration without an improvement is kept.  The mean is compared
      // in float32 as in hqq, but summed in float64, so that the order of summation, which depends on threads, does not
      // matter.
      const auto mean_error = static_cast<float>(error.abs().mean(at::kDouble).item<double>());
      if (!(mean_error < best_error)) break;
      best_error = mean_error;
    }
    const auto stored = [&](const at::Tensor& x) { return x.to(stored_).to(at::kFloat); };
    return (codes(zero) - stored(zero)) * stored(one / inverse_scale);
  }

  /// Returns the proximal step of |x|^p: sign(x) max(0, |x| - |x|^(p-1) / beta).
  at::Tensor shrink(const at::Tensor& x, double beta) const {
    const at::Tensor size = x.abs();
    return (size - size.pow(p_ - 1) * (1 / beta)).clamp_min(0) * x.sign();
  }

  Config config_;
  int64_t bits_, group_, axis_, iterations_;
  double p_, beta_, kappa_;
  at::ScalarType stored_ = at::kFloat;  ///< of scale and zero
};

const Register<Quantizer, Hqq> kHqq{
    "hqq",
    "half-quadratic quantization (mobiusml/hqq) without data; axis 1: groups along the inputs, 0: along the outputs",
    "{type: hqq, bits: 4, group: 64, axis: 1, iterations: 20, p: 0.7, beta: 10, kappa: 1.01}"};

}  // namespace
}  // namespace qroar
