// The arithmetic of AWQ's searches, without the model: trial scales, and limits to clip weights to (rules of llm-awq's
// auto_scale.py and auto_clip.py, docs/method.md 7.1).  Float32 (float64 for a float64 model).
#pragma once
#include <ATen/ATen.h>

#include "quant/rtn.h"

namespace qroar {

constexpr int kAwqGrid = 20;  ///< trial exponents 0, 1/20 .. 19/20; trial parts 1, 19/20 .. 11/20

/// Scale of input channels for an exponent r, from the channels' mean magnitudes: s = max(x^r, 1e-4), then
/// s / sqrt(max s * min s).  Where weight_I is defined, AutoAWQ's duo scaling: x^r / (w^(1-r) + 1e-4) instead of x^r,
/// and 1 where that is not finite.
at::Tensor awq_scale(const at::Tensor& input_I, const at::Tensor& weight_I, double ratio);

/// AutoAWQ's w: the mean over rows of |w| / (largest |w| of the group + 1e-6).  group 0: one group a row.
at::Tensor awq_weight_means(const at::Tensor& weight_OI, int64_t group);

/// What part of each group's largest magnitude the weight is best clipped to before it is rounded, [O, groups]: that
/// with the least mean over the tokens x_NI of the squared error of the group's part of the product; of equal ones the
/// largest.  Parts, not limits, since scales that other layers' searches fold into the rows leave them as they are.
at::Tensor awq_clip_parts(const at::Tensor& weight_OI, const at::Tensor& x_NI, const Rtn& rtn);

/// The weight clipped to such parts of its groups' largest magnitudes.
at::Tensor awq_clipped(const at::Tensor& weight_OI, const at::Tensor& part_OG);

}  // namespace qroar
