// What the host side of the CUDA kernels shares: which tensors they take, their dtype under the kernels' name, and
// the errors of their launches.
#pragma once
#include <ATen/ATen.h>

#include "base/error.h"
#include "ops/cuda/kernels.h"

namespace qroar::ops {

/// Our kernels compute in float32, which a float64 tensor would lose bits to.
inline bool kernels_take(const at::Tensor& tensor) { return tensor.is_cuda() && tensor.scalar_type() != at::kDouble; }

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
