// Shared by the host side of the CUDA kernels: which tensors they support, the kernels' name of the dtype, and the
// errors of their launches.
#pragma once
#include <ATen/ATen.h>

#include "base/error.h"
#include "ops/cuda/kernels.h"

namespace qroar::ops {

/// Returns whether the kernels support the tensor: they compute in float32, in which float64 would lose precision.
inline bool kernels_support(const at::Tensor& tensor) {
  return tensor.is_cuda() && tensor.scalar_type() != at::kDouble;
}

inline kernels::Element element_of(const at::Tensor& tensor) {
  const auto dtype = tensor.scalar_type();
  return dtype == at::kFloat      ? kernels::Element::float32
         : dtype == at::kBFloat16 ? kernels::Element::bfloat16
                                  : kernels::Element::float16;
}

inline void check_launch(const char* op, const char* error) {
  if (error != nullptr) fail("{} kernel: {}", op, error);
}

}  // namespace qroar::ops
