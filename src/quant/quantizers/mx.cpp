// mxfp4, mxfp6, mxfp8: OCP Microscaling formats v1.0, blocks of 32 inputs that share a power of two.  See
// ops/small_float.h. The power is chosen only as the specification does (from the exponent of the largest magnitude).
#include "ops/small_float.h"
#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

using Choices = std::vector<std::pair<std::string, const ops::FloatFormat*>>;

class Mx : public Quantizer {
 public:
  Mx(const Config& config, const ops::FloatFormat& format) : config_(config), format_(format) {}
  /// The first of `choices` is the default of `format`.
  Mx(const Config& config, const Choices& choices)
      : Mx(config, *config.get_choice<const ops::FloatFormat*>("format", choices.front().second, choices)) {}

  void check_site(const LinearSite& site) const override { check_fixed_block(config_, ops::kMxBlock, site); }

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    return ops::mx_fake_quant(weight_OI, format_);
  }

  std::vector<at::Tensor> groups(const at::Tensor& x_RC) const override {
    return {rows_of_groups(ops::kMxBlock, x_RC)};
  }

  double bits_per_weight(const LinearSite&) const override {
    return 1 + format_.exponent_bits + format_.mantissa_bits + 8.0 / ops::kMxBlock;
  }

  std::optional<std::string> couples_rows(const LinearSite&) const override { return std::nullopt; }
  /// A factor that is no power of two changes the ratio of the shared scale to the largest magnitude.
  RowScaling commutes_with_row_scaling(const LinearSite&) const override { return RowScaling::powers_of_two; }
  bool idempotent() const override { return true; }

 private:
  Config config_;
  ops::FloatFormat format_;
};

struct Mxfp4 : Mx {
  explicit Mxfp4(const Config& config) : Mx(config, ops::kE2M1) {}
};

struct Mxfp6 : Mx {
  explicit Mxfp6(const Config& config) : Mx(config, Choices{{"e2m3", &ops::kE2M3}, {"e3m2", &ops::kE3M2}}) {}
};

struct Mxfp8 : Mx {
  explicit Mxfp8(const Config& config) : Mx(config, Choices{{"e4m3", &ops::kE4M3}, {"e5m2", &ops::kE5M2}}) {}
};

const Register<Quantizer, Mxfp4> kMxfp4{"mxfp4", "OCP MX: e2m1 in blocks of 32 with a power of two each",
                                        "{type: mxfp4}"};
const Register<Quantizer, Mxfp6> kMxfp6{"mxfp6", "OCP MX, format: e2m3 | e3m2", "{type: mxfp6, format: e2m3}"};
const Register<Quantizer, Mxfp8> kMxfp8{"mxfp8", "OCP MX, format: e4m3 | e5m2", "{type: mxfp8, format: e4m3}"};

}  // namespace
}  // namespace qroar
