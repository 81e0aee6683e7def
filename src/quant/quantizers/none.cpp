// Leaves the weight unchanged; a later rule with `none` exempts layers from an earlier rule.
#include "quant/quantizer.h"

namespace qroar {
namespace {

class None : public Quantizer {
 public:
  explicit None(const Config&) {}
  void check_site(const LinearSite&) const override {}
  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override { return weight_OI; }
  double bits_per_weight(const LinearSite&) const override { return 16; }
  std::optional<std::string> couples_rows(const LinearSite&) const override { return std::nullopt; }
  RowScaling commutes_with_row_scaling(const LinearSite&) const override { return RowScaling::any; }
  bool idempotent() const override { return true; }
};

const Register<Quantizer, None> kNone{"none", "the weight as it is (16 bits)", "{type: none}"};

}  // namespace
}  // namespace qroar
