// RTN fake quantization: the plain ATen reference and the choice between it and the CUDA kernel.  Contract: rtn.h.
#include "ops/rtn.h"

#include "base/error.h"
#include "ops/cuda/element.h"

namespace qroar::ops {

namespace {

RtnScale asymmetric_scale(at::Tensor lo, at::Tensor hi, const RtnGrid& grid) {
  const double top = (1 << grid.bits) - 1;
  // A tensor, since on the GPU ATen multiplies by the reciprocal of a scalar divisor, which rounds differently.
  const at::Tensor levels = at::full_like(lo, top);
  at::Tensor scale;
  if (grid.zero == RtnZero::plain) {
    const at::Tensor constant_scale = at::where(lo == 0, at::ones_like(lo), lo.abs());
    scale = at::where(hi == lo, constant_scale, (hi - lo) / levels);
  } else if (grid.zero == RtnZero::awq) {
    scale = (hi - lo).clamp_min(1e-5) / levels;
  } else {
    lo = lo.clamp_max(0);
    hi = hi.clamp_min(0);
    const at::Tensor empty = at::logical_and(lo == 0, hi == 0);
    lo = at::where(empty, -at::ones_like(lo), lo);
    hi = at::where(empty, at::ones_like(hi), hi);
    scale = (hi - lo) / levels;
  }
  at::Tensor zero = -at::round(lo / scale);
  if (grid.zero == RtnZero::awq) zero = zero.clamp(0, top);
  return {scale, zero, 0, top};
}

RtnScale symmetric_scale(const at::Tensor& largest, const RtnGrid& grid) {
  const double half = 1 << (grid.bits - 1);
  if (grid.zero == RtnZero::included) {
    const at::Tensor levels = at::full_like(largest, 2 * half - 1);
    const at::Tensor scale = at::where(largest == 0, at::ones_like(largest), largest) * 2 / levels;
    return {scale, at::full_like(scale, half), 0, 2 * half - 1};
  }
  const at::Tensor floored = grid.zero == RtnZero::awq
                                 ? largest.clamp_min(1e-5)
                                 : at::where(largest == 0, at::full_like(largest, half - 1), largest);
  const at::Tensor scale = floored / at::full_like(floored, half - 1);
  return {scale, at::zeros_like(scale), -half, half - 1};
}

}  // namespace

at::ScalarType rtn_dtype(const RtnGrid& grid) {
  return grid.arithmetic == RtnArithmetic::float16    ? at::kHalf
         : grid.arithmetic == RtnArithmetic::bfloat16 ? at::kBFloat16
                                                      : at::kFloat;
}

RtnScale rtn_scale(const at::Tensor& w_GS, const RtnGrid& grid) {
  const at::Tensor lo = w_GS.amin(1, /*keepdim=*/true) * grid.clip, hi = w_GS.amax(1, /*keepdim=*/true) * grid.clip;
  return grid.symmetric ? symmetric_scale(at::maximum(lo.abs(), hi.abs()), grid) : asymmetric_scale(lo, hi, grid);
}

at::Tensor rtn_round(const at::Tensor& w, const RtnScale& scale, const at::Tensor& stored_scale) {
  return ((at::round(w / scale.scale) + scale.zero).clamp(scale.low, scale.high) - scale.zero) * stored_scale;
}

at::Tensor rtn_round(const at::Tensor& w, const RtnScale& scale) { return rtn_round(w, scale, scale.scale); }

namespace reference {

at::Tensor rtn_fake_quant(const at::Tensor& weight_OI, int64_t group, const RtnGrid& grid) {
  const int64_t size = group > 0 ? group : group == 0 ? weight_OI.size(1) : weight_OI.numel();
  const at::Tensor w_GS = weight_OI.to(rtn_dtype(grid)).view({-1, size});
  return rtn_round(w_GS, rtn_scale(w_GS, grid)).view(weight_OI.sizes()).to(weight_OI.scalar_type());
}

}  // namespace reference

#ifdef QROAR_HAVE_CUDA
namespace {

at::Tensor on_device(const at::Tensor& weight_OI, int64_t group_size, const RtnGrid& grid) {
  at::Tensor out = at::empty_like(weight_OI);
  check_launch("RTN", kernels::rtn_fake_quant(weight_OI.const_data_ptr(), out.mutable_data_ptr(), element_of(weight_OI),
                                              weight_OI.numel() / group_size, group_size, grid));
  return out;
}

}  // namespace
#endif

at::Tensor rtn_fake_quant(const at::Tensor& weight_OI, int64_t group, const RtnGrid& grid) {
  check(weight_OI.dim() == 2 && weight_OI.is_contiguous(), "RTN takes a contiguous matrix");
#ifdef QROAR_HAVE_CUDA
  // The kernel uses at most one block per group, so a group of the complete tensor is left to ATen's reductions.
  if (kernels_support(weight_OI) && group >= 0 && grid.arithmetic == RtnArithmetic::float32) {
    return on_device(weight_OI, group > 0 ? group : weight_OI.size(1), grid);
  }
#endif
  return reference::rtn_fake_quant(weight_OI, group, grid);
}

}  // namespace qroar::ops
