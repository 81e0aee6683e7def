// Dimensions: O outputs and I inputs of a layer, G groups of S weights in a row, N tokens.
#include "quant/awq_search.h"

#include "ops/ops.h"

namespace qroar {
namespace {

constexpr int kClipCandidates = kAwqGrid / 2;

at::Tensor wide(const at::Tensor& x) { return x.to(ops::wide_dtype(x)); }

}  // namespace

at::Tensor awq_scale(const at::Tensor& input_I, const at::Tensor& weight_I, double ratio) {
  at::Tensor scale = input_I.pow(ratio);
  if (weight_I.defined()) scale = scale / (weight_I.pow(1 - ratio) + 1e-4);
  scale = scale.clamp_min(1e-4);
  scale = scale / (scale.max() * scale.min()).sqrt();
  return weight_I.defined() ? at::where(scale.isfinite(), scale, at::ones_like(scale)) : scale;
}

at::Tensor awq_weight_means(const at::Tensor& weight_OI, int64_t group) {
  const int64_t size = group > 0 ? group : weight_OI.size(1);
  const at::Tensor w_OGS = wide(weight_OI).abs().view({weight_OI.size(0), -1, size});
  return (w_OGS / (w_OGS.amax(-1, /*keepdim=*/true) + 1e-6)).view(weight_OI.sizes()).mean(0);
}

// The mean of (x.e)^2 over the tokens is the quadratic form e X'X e / N: X'X is computed once, instead of processing
// all tokens for every candidate ratio.
at::Tensor awq_clip_parts(const at::Tensor& weight_OI, const at::Tensor& x_NI, const Rtn& rtn) {
  const at::Tensor w_OI = wide(weight_OI);
  const int64_t size = rtn.group() > 0 ? rtn.group() : w_OI.size(1), outputs = w_OI.size(0);
  const at::Tensor x_GNS = x_NI.view({x_NI.size(0), -1, size}).transpose(0, 1);
  const at::Tensor gram_GSS = at::matmul(x_GNS.transpose(1, 2), x_GNS) / static_cast<double>(x_NI.size(0));
  const at::Tensor w_OGS = w_OI.view({outputs, -1, size});
  at::Tensor best_OG = at::ones({outputs, w_OGS.size(1)}, w_OI.options()), best_error = at::full_like(best_OG, 1e9);
  for (int step = 0; step < kClipCandidates; ++step) {
    const at::Tensor part_OG = at::full_like(best_OG, 1 - static_cast<double>(step) / kAwqGrid);
    const at::Tensor rounded_OI = wide(rtn.fake_quantize(awq_clipped(weight_OI, part_OG)));
    const at::Tensor error_GOS = (rounded_OI.view_as(w_OGS) - w_OGS).transpose(0, 1);
    const at::Tensor error_OG = (at::matmul(error_GOS, gram_GSS) * error_GOS).sum(-1).transpose(0, 1);
    best_OG = at::where(error_OG < best_error, part_OG, best_OG);
    best_error = at::minimum(error_OG, best_error);
  }
  return best_OG;
}

at::Tensor awq_clipped(const at::Tensor& weight_OI, const at::Tensor& part_OG) {
  const at::Tensor w_OGS = wide(weight_OI).view({part_OG.size(0), part_OG.size(1), -1});
  const at::Tensor limit_OG1 = w_OGS.abs().amax(-1, /*keepdim=*/true) * part_OG.unsqueeze(-1);
  return w_OGS.clamp(-limit_OG1, limit_OG1).view_as(weight_OI).to(weight_OI.scalar_type());
}

}  // namespace qroar
