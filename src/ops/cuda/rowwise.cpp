#include "ops/cuda/rowwise.h"

#include <algorithm>

#include "base/error.h"
#include "ops/cuda/element.h"

namespace qroar::ops::cuda {

#ifdef QROAR_HAVE_CUDA

bool supports_rowwise(at::TensorList tensors) {
  return std::ranges::all_of(tensors, [&](const at::Tensor& x) {
    return kernels_support(x) && x.is_contiguous() && x.scalar_type() == tensors[0].scalar_type();
  });
}

bool can_rotate(const at::Tensor& x_THd, const RopeAngles& angles) {
  return kernels_support(x_THd) && x_THd.stride(2) == 1 && angles.cos_TP.scalar_type() == at::kFloat &&
         angles.cos_TP.is_contiguous() && angles.sin_TP.is_contiguous();
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  at::Tensor out_TD = at::empty_like(x_TD);
  check_launch("RMS norm",
               kernels::rms_norm(x_TD.const_data_ptr(), weight_D.const_data_ptr(), out_TD.mutable_data_ptr(),
                                 element_of(x_TD), x_TD.size(0), x_TD.size(1), static_cast<float>(eps)));
  return out_TD;
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) {
  check_launch("RoPE", kernels::rope(x_THd.mutable_data_ptr(), element_of(x_THd), x_THd.size(0), x_THd.size(1),
                                     angles.cos_TP.size(1), x_THd.stride(0), x_THd.stride(1),
                                     angles.cos_TP.const_data_ptr<float>(), angles.sin_TP.const_data_ptr<float>()));
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  at::Tensor out_TF = at::empty_like(gate_TF);
  check_launch("SiLU", kernels::silu_mul(gate_TF.const_data_ptr(), up_TF.const_data_ptr(), out_TF.mutable_data_ptr(),
                                         element_of(gate_TF), gate_TF.numel()));
  return out_TF;
}

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  const at::Tensor targets = targets_T.contiguous();
  at::Tensor nll_T = at::empty(targets.sizes(), logits_TV.options().dtype(at::kDouble));
  check_launch("token loss", kernels::token_nll(logits_TV.const_data_ptr(), targets.const_data_ptr<int64_t>(),
                                                nll_T.mutable_data_ptr<double>(), element_of(logits_TV),
                                                logits_TV.size(0), logits_TV.size(1)));
  return nll_T;
}

#else

bool supports_rowwise(at::TensorList) { return false; }
bool can_rotate(const at::Tensor&, const RopeAngles&) { return false; }

namespace {

[[noreturn]] void fail_without_kernels() { fail("this program was built without CUDA kernels"); }

}  // namespace

at::Tensor rms_norm(const at::Tensor&, const at::Tensor&, double) { fail_without_kernels(); }
void rope_(at::Tensor&, const RopeAngles&) { fail_without_kernels(); }
at::Tensor silu_mul(const at::Tensor&, const at::Tensor&) { fail_without_kernels(); }
at::Tensor token_nll(const at::Tensor&, const at::Tensor&) { fail_without_kernels(); }

#endif

}  // namespace qroar::ops::cuda
