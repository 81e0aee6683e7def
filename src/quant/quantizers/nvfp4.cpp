// nvfp4: e2m1 in blocks of 16 inputs with an e4m3 scale each, and one float32 scale a tensor.  ops/small_float.h.
#include "ops/small_float.h"
#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

class Nvfp4 : public Quantizer {
 public:
  explicit Nvfp4(const Config& config) : config_(config) {}

  void check_site(const LinearSite& site) const override { check_fixed_block(config_, ops::kNvfp4Block, site); }
  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override { return ops::nvfp4_fake_quant(weight_OI); }
  double bits_per_weight(const LinearSite& site) const override {
    return 4 + 8.0 / ops::kNvfp4Block + 32.0 / static_cast<double>(site.rows * site.columns);
  }

  /// The tensor's scale decides how each block's scale is rounded.
  bool rows_are_independent() const override { return false; }
  RowScaling commutes_with_row_scaling(const LinearSite&) const override { return RowScaling::differs; }

 private:
  Config config_;
};

const Register<Quantizer, Nvfp4> kNvfp4{
    "nvfp4", "NVIDIA FP4: e2m1 in blocks of 16, e4m3 scales, a float32 tensor scale", "{type: nvfp4}"};

}  // namespace
}  // namespace qroar
