// Fake quantization in small floating-point formats, in ATen for every device.  Contract: small_float.h.
#include "ops/small_float.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace qroar::ops {
namespace {

/// Returns floor(log2 |x|) of normal float32 numbers, from the bits; -127 for zeros and subnormals, 128 for infinity
/// and NaN.
at::Tensor exponent_of(const at::Tensor& x) { return at::bitwise_right_shift(x.abs().view(at::kInt), 23) - 127; }

/// Returns 2^e in float32, exact for -149 <= e <= 127; computed in float64, where all of these are normal numbers.
at::Tensor power_of_two(const at::Tensor& e) {
  return at::bitwise_left_shift(e.to(at::kLong) + 1023, 52).view(at::kDouble).to(at::kFloat);
}

/// Divides by a tensor, since on the GPU ATen multiplies by the reciprocal of a scalar divisor, which rounds
/// differently.
at::Tensor divided(const at::Tensor& x, double scalar) { return x / at::full_like(x, scalar); }

at::Tensor one_where_zero(const at::Tensor& x) { return at::where(x == 0, at::ones_like(x), x); }

/// Elements that are rounded at a time: on the way an element takes some 50 bytes, more than a long window has room
/// for.
constexpr int64_t kBlock = int64_t{1} << 22;

/// Returns the matrix of what rounded(float32 [groups, group], the first group's number) makes of some of its groups.
template <class Rounded>
at::Tensor in_blocks(const at::Tensor& weight_OI, int64_t group, const Rounded& rounded) {
  check(weight_OI.dim() == 2 && weight_OI.is_contiguous(), "a small float format takes a contiguous matrix");
  const at::Tensor groups = weight_OI.view({-1, group});
  at::Tensor out = at::empty_like(groups);
  const int64_t block = std::max<int64_t>(1, kBlock / group);
  for (int64_t begin = 0; begin < groups.size(0); begin += block) {
    out.slice(0, begin, begin + block).copy_(rounded(groups.slice(0, begin, begin + block).to(at::kFloat), begin));
  }
  return out.view(weight_OI.sizes());
}

at::Tensor absmax_of(const at::Tensor& groups) { return groups.abs().amax(1, /*keepdim=*/true); }

}  // namespace

at::Tensor round_to(const at::Tensor& x, const FloatFormat& format) {
  const int smallest_exponent = 2 - (1 << (format.exponent_bits - 1));  // of normal numbers; also used for subnormals
  const at::Tensor clamped = x.clamp(-format.largest, format.largest);
  const at::Tensor step =
      power_of_two(exponent_of(clamped).clamp(smallest_exponent, format.largest_exponent) - format.mantissa_bits);
  return at::round(clamped / step) * step;
}

at::Tensor scaled_float_fake_quant(const at::Tensor& weight_OI, int64_t group, const FloatFormat& format) {
  const int64_t size = group > 0 ? group : group == 0 ? weight_OI.size(1) : weight_OI.numel();
  return in_blocks(weight_OI, size, [&](const at::Tensor& w, int64_t) {
    const at::Tensor scale = one_where_zero(divided(absmax_of(w), format.largest));
    return round_to(w / scale, format) * scale;
  });
}

at::Tensor mx_fake_quant(const at::Tensor& weight_OI, const FloatFormat& format) {
  return in_blocks(weight_OI, kMxBlock, [&](const at::Tensor& w, int64_t) {
    const at::Tensor absmax = absmax_of(w);
    const at::Tensor power = power_of_two((exponent_of(absmax) - format.largest_exponent).clamp(-127, 127));
    const at::Tensor scale =
        at::where(absmax.isfinite(), power, at::full_like(power, std::numeric_limits<double>::quiet_NaN()));
    return round_to(w / scale, format) * scale;
  });
}

at::Tensor nvfp4_fake_quant(const at::Tensor& weight_OI, const at::Tensor& largest) {
  const int64_t groups = weight_OI.numel() / kNvfp4Block;
  const at::Tensor of_groups =
      largest.dim() == 0 ? largest : largest.repeat_interleave(groups / largest.size(0), /*dim=*/0);
  return in_blocks(weight_OI, kNvfp4Block, [&](const at::Tensor& w, int64_t begin) {
    const at::Tensor largest_here = largest.dim() == 0 ? largest : of_groups.slice(0, begin, begin + w.size(0));
    const at::Tensor global_scale = one_where_zero(divided(largest_here, kE2M1.largest * kE4M3.largest));
    const at::Tensor scale = round_to(divided(absmax_of(w), kE2M1.largest) / global_scale, kE4M3) * global_scale;
    return round_to(w / one_where_zero(scale), kE2M1) * scale;
  });
}

}  // namespace qroar::ops
