// Round-to-nearest (RTN) fake quantization of groups: the grid, its numeric contract and the two implementations.
// Sources of the conventions: llm-awq quantizer.py (awq), IST-DASLab/gptq quant.py (included), QuaRot (clip: 0.9 for
// activations, 0.95 for the cache, arXiv 2404.00456); docs/method.md 7.1, 7.3, 7.4.
#pragma once
#include <ATen/ATen.h>

#include "ops/formats.h"

namespace qroar::ops {

/// Contract, bitwise equal on CPU and GPU: everything in float32 from the weight's dtype, each operation rounded once
/// (no fused multiply-add); round = to nearest, ties to even; Q = 2^bits - 1; one cast to the weight's dtype at the
/// end.  Per group with minimum lo and maximum hi, each first multiplied by `clip` (0 < clip <= 1), so that values
/// beyond them are clamped to an end of the grid; clip = 1 changes no bit:
///   asymmetric  scale = (hi - lo) / Q, zero = -round(lo / scale),
///               w' = (clamp(round(w / scale) + zero, 0, Q) - zero) * scale
///     plain     lo and hi unchanged; lo = hi has scale |lo|, or 1 where lo = 0, so that at clip 1 a constant
///               group keeps its value exactly
///     awq       hi - lo at least 1e-5 and zero clamped to [0, Q]: a group on one side of 0 saturates, as in llm-awq
///     included  lo = min(lo, 0), hi = max(hi, 0), so that 0 is on the grid; lo = hi = 0 becomes -1, 1, as in GPTQ
///   symmetric   m = max(|lo|, |hi|)
///     plain     scale = m / (2^(bits-1) - 1) (1 where m = 0),
///               w' = clamp(round(w / scale), -2^(bits-1), 2^(bits-1) - 1) * scale
///     awq       the same with m at least 1e-5
///     included  scale = 2m / Q, zero = 2^(bits-1), as in the asymmetric formula (m = 0 becomes 1)
/// With `arithmetic` float16 or bfloat16 the weight is cast to it first and the result of each operation is rounded to
/// it, scale and product among them, as in libraries that quantize a model in its own dtype.
/// weight_OI is contiguous [rows, columns]; `group` divides columns, or is 0 (one group per row) or -1 (one group).
at::Tensor rtn_fake_quant(const at::Tensor& weight_OI, int64_t group, const RtnGrid& grid);

/// The grids of groups, [groups, 1] each: w' = (clamp(round(w / scale) + zero, low, high) - zero) * scale.
struct RtnScale {
  at::Tensor scale, zero;
  double low, high;
};

/// Returns the dtype of the arithmetic.
at::ScalarType rtn_dtype(const RtnGrid& grid);

/// Returns the grid of every row of w_GS, of rtn_dtype(), according to the contract.
RtnScale rtn_scale(const at::Tensor& w_GS, const RtnGrid& grid);

/// Rounds numbers of that dtype onto the grids, which are broadcast against them.
at::Tensor rtn_round(const at::Tensor& w, const RtnScale& scale);
/// Returns what the same codes are worth with other scales.
at::Tensor rtn_round(const at::Tensor& w, const RtnScale& scale, const at::Tensor& stored_scale);

namespace reference {
at::Tensor rtn_fake_quant(const at::Tensor& weight_OI, int64_t group, const RtnGrid& grid);
}  // namespace reference

}  // namespace qroar::ops
