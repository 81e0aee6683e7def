// The arithmetic of AWQ's searches, without the model: candidate scales, and limits that weights are clipped to (rules
// of llm-awq's auto_scale.py and auto_clip.py, docs/method.md 7.1).  Computed in float32 (float64 for a float64 model).
#pragma once
#include <ATen/ATen.h>

#include "quant/rtn.h"

namespace qroar {

constexpr int kAwqGrid = 20;  ///< candidate exponents 0, 1/20 .. 19/20; candidate clip ratios 1, 19/20 .. 11/20

/// Returns the scale of each input channel for an exponent r, from the channels' mean magnitudes: s = max(x^r, 1e-4),
/// then s / sqrt(max s * min s).  Where weight_I is defined, uses AutoAWQ's duo scaling: x^r / (w^(1-r) + 1e-4) instead
/// of x^r, and 1 where that is not finite.
at::Tensor awq_scale(const at::Tensor& input_I, const at::Tensor& weight_I, double ratio);

/// Returns AutoAWQ's w: the mean over rows of |w| / (largest |w| of the group + 1e-6).  group 0: one group per row.
at::Tensor awq_weight_means(const at::Tensor& weight_OI, int64_t group);

/// Returns, for each group [O, groups], the best ratio of the group's largest magnitude to clip its weights to before
/// rounding: the ratio with the smallest squared error of the group's contribution to the product, averaged over the
/// tokens x_NI; of equal ones, the largest.  These are ratios and not limits because they stay valid when other layers'
/// searches fold scales into the rows.
at::Tensor awq_clip_parts(const at::Tensor& weight_OI, const at::Tensor& x_NI, const Rtn& rtn);

/// Returns the weight clipped to these ratios of its groups' largest magnitudes.
at::Tensor awq_clipped(const at::Tensor& weight_OI, const at::Tensor& part_OG);

}  // namespace qroar
