// Round to nearest on a uniform grid per group, row or tensor, used alone and as the rounding step of calibrated
// quantizers. The arithmetic and the sources of its conventions: ops/rtn.h.
#pragma once
#include <optional>

#include "ops/rtn.h"
#include "quant/quantizer.h"

namespace qroar {

/// The defaults of absent keys.
struct RtnDefaults {
  int64_t bits = 4, group = 128;
  bool symmetric = false;
  std::optional<ops::RtnZero> zero;  ///< when set: the fixed convention; the keys zero and clip are then not allowed
};

class Rtn : public Quantizer {
 public:
  /// Reads bits, group, symmetric, scale_dtype and, where `defaults` leave the convention open, zero and clip.
  explicit Rtn(const Config& config, const RtnDefaults& defaults = {});

  const ops::RtnGrid& grid() const { return grid_; }
  int64_t group() const { return group_; }

  void check_site(const LinearSite& site) const override;
  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override;
  std::vector<at::Tensor> groups(const at::Tensor& x_RC) const override;
  std::function<at::Tensor(const at::Tensor&)> with_range(const at::Tensor& lo, const at::Tensor& hi) const override;
  double bits_per_weight(const LinearSite& site) const override;
  std::optional<std::string> couples_rows(const LinearSite& site) const override;
  /// awq's minimum range of 1e-5 does not scale with the row, nor do subnormal scales of 16 bits; one group per tensor
  /// shares its scale between rows.
  RowScaling commutes_with_row_scaling(const LinearSite&) const override {
    if (group_ < 0 || grid_.zero == ops::RtnZero::awq) return RowScaling::differs;
    return grid_.arithmetic == ops::RtnArithmetic::float32 ? RowScaling::any : RowScaling::differs;
  }

 private:
  Config config_;
  int64_t group_;
  ops::RtnGrid grid_;
};

}  // namespace qroar
