// Small floating-point formats: rounding onto their grids, and fake quantization with the scales of FP8, of the OCP MX
// formats (Microscaling v1.0) and of NVFP4.  Computes values only, without packing.
#pragma once
#include <ATen/ATen.h>

namespace qroar::ops {

/// A format of sign, exponent with bias 2^(exponent_bits - 1) - 1, and mantissa; it has subnormals and never produces
/// infinity.
struct FloatFormat {
  int exponent_bits;
  int mantissa_bits;
  double largest;        ///< largest finite value
  int largest_exponent;  ///< floor(log2(largest))
};

inline constexpr FloatFormat kE2M1{2, 1, 6, 2};
inline constexpr FloatFormat kE2M3{2, 3, 7.5, 2};
inline constexpr FloatFormat kE3M2{3, 2, 28, 4};
inline constexpr FloatFormat kE4M3{4, 3, 448, 8};  ///< OCP "fn": the top code is NaN, there is no infinity
inline constexpr FloatFormat kE5M2{5, 2, 57344, 15};

// Contract of all functions below, bitwise equal on CPU and GPU: float32 from the weight's dtype, each operation
// rounded once, one cast to the weight's dtype at the end.  `weight_OI` is contiguous [rows, columns].

/// Rounds x (float32) onto the format's grid: to nearest, ties to even; magnitudes above the largest value are clamped
/// to it.  NaN stays NaN.
at::Tensor round_to(const at::Tensor& x, const FloatFormat& format);

/// FP8: scale = absmax / largest per group (1 where that is 0), w' = round_to(w / scale) * scale.  `group` divides
/// columns, or is 0 (one group per row) or -1 (one group).
at::Tensor scaled_float_fake_quant(const at::Tensor& weight_OI, int64_t group, const FloatFormat& format);

/// MX: blocks of 32 along the columns with an E8M0 scale 2^(floor(log2 absmax) - largest_exponent), its exponent
/// clamped to -127..127; w' = round_to(w / scale) * scale.  A NaN or infinite weight makes its block NaN.
inline constexpr int64_t kMxBlock = 32;
at::Tensor mx_fake_quant(const at::Tensor& weight_OI, const FloatFormat& format);

/// NVFP4: global_scale = largest / (6 * 448) (1 where that is 0); per block of 16 along the columns block_scale =
/// round_to(absmax / 6 / global_scale, E4M3), scale = block_scale * global_scale; w' = round_to(w / scale, E2M1) *
/// scale.  A block so far below `largest` that its scale rounds to 0 becomes 0; values beyond `largest` are clamped to
/// it.
/// `largest` is a magnitude in float32, [] for the tensor or [rows, 1].
inline constexpr int64_t kNvfp4Block = 16;
at::Tensor nvfp4_fake_quant(const at::Tensor& weight_OI, const at::Tensor& largest);

}  // namespace qroar::ops
