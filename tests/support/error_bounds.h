// How far what a device computes may be from float64.
#pragma once
#include <ATen/ATen.h>

namespace qroar {

/// Largest difference relative to the largest magnitude of the expectation.
inline double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor difference = found.to(at::kCPU, at::kDouble) - expected.to(at::kCPU);
  return difference.abs().max().item<double>() / expected.abs().max().item<double>();
}

/// Half a unit in the last place for the final cast, times a few roundings of intermediate values in the dtype.
inline double tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 2e-5 : dtype == at::kHalf ? 3e-3 : 2e-2; }

}  // namespace qroar
