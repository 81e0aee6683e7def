// nvfp4: e2m1 in blocks of 16 inputs with an e4m3 scale each, under float32 global scales.  See ops/small_float.h. The
// format has one global scale per tensor.  For activations it is either calibrated, as deployments do (`static: true`;
// compressed-tensors' tensor_group in vLLM, ModelOpt's input_scale), or each token has its own, computed dynamically
// (`global_scale: token`; FlashInfer's per_token_activation, vLLM's nvfp4_per_token, Transformer Engine's
// row_scaled_activation).  Without: Transformer Engine's square blocks and stochastic rounding, FlashInfer's
// 4over6.
#include "ops/small_float.h"
#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

class Nvfp4 : public Quantizer {
 public:
  explicit Nvfp4(const Config& config)
      : config_(config),
        by_row_(config.get_choice<bool>("global_scale", false, {{"tensor", false}, {"token", true}})) {}

  void check_site(const LinearSite& site) const override { check_fixed_block(config_, ops::kNvfp4Block, site); }

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    const at::Tensor largest = by_row_ ? weight_OI.abs().amax(1, /*keepdim=*/true) : weight_OI.abs().amax();
    return ops::nvfp4_fake_quant(weight_OI, largest.to(at::kFloat));
  }

  std::vector<at::Tensor> groups(const at::Tensor& x_RC) const override {
    return {rows_of_groups(ops::kNvfp4Block, x_RC)};
  }

  std::function<at::Tensor(const at::Tensor&)> with_range(const at::Tensor& lo, const at::Tensor& hi) const override {
    if (by_row_) return {};
    const at::Tensor largest = at::maximum(lo.abs(), hi.abs());
    return [largest](const at::Tensor& x) { return ops::nvfp4_fake_quant(x.contiguous(), largest); };
  }

  double bits_per_weight(const LinearSite& site) const override {
    const double scales = by_row_ ? static_cast<double>(site.rows) : 1;
    return 4 + 8.0 / ops::kNvfp4Block + 32 * scales / static_cast<double>(site.rows * site.columns);
  }

  /// The global scale determines how each block's scale is rounded.
  std::optional<std::string> couples_rows(const LinearSite&) const override {
    if (by_row_) return std::nullopt;
    return "global_scale: tensor is one for all rows; write global_scale: token (one a row)";
  }
  RowScaling commutes_with_row_scaling(const LinearSite&) const override {
    return by_row_ ? RowScaling::any : RowScaling::differs;
  }

 private:
  Config config_;
  bool by_row_;
};

const Register<Quantizer, Nvfp4> kNvfp4{
    "nvfp4", "NVIDIA FP4: e2m1 in blocks of 16, e4m3 scales, float32 global_scale: tensor | token (one a row)",
    "{type: nvfp4, global_scale: tensor}"};

}  // namespace
}  // namespace qroar
