// Hadamard transforms of the last dimension, for rotations that spread outliers (QuaRot, arXiv 2404.00456, section 3).
// Orders n = m 2^k whose m comes from a construction of Sylvester, Paley (J. Math. Phys. 12, 1933) or Williamson (Duke
// Math. J. 11, 1944); no table of matrices, so an order that needs one is an Error.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>

namespace qroar::ops {

/// The least m, with n = m 2^k, that has a construction: 1 for powers of two, 172 for 11008.  An Error names n and the
/// nearest orders below and above that exist.
int64_t hadamard_order(int64_t n);

/// y = H x for every row x of the last dimension, H = S / sqrt(n) orthonormal with signs S = [[1, 1], [1, -1]] (x) ...
/// (x) S_m, (x) being Kronecker's product.  H is not symmetric for every n; applied to the rows of W it gives W H^T, so
/// that (W H^T)(H x) = W x.
///
/// Contract: float32 from x's dtype (float64 for float64); sums and differences of pairs, each rounded once; then one
/// product with signs of a small order, its sums in the order of the device's matrix product; times 1 / sqrt(n) rounded
/// to float32; one cast to x's dtype.  Integers whose sums of magnitudes stay below 2^24 are exact up to that factor.
/// Needs memory for blocks of rows only, beside the result.
/// Where autograd follows x: two products with signs in the same precision, their sums in another order.
class Hadamard {
 public:
  /// For tensors [..., n] of the dtype on the device.
  Hadamard(int64_t n, at::ScalarType dtype, const at::Device& device);

  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor differentiable(const at::Tensor& x) const;
  void transform_rows(const at::Tensor& x_RN, const at::Tensor& out_RN) const;

  int64_t n_;
  at::Tensor signs_BB_;  ///< S of order B, the part that is a matrix product
};

namespace reference {
/// S of order n in float64, [n, n].
at::Tensor hadamard_signs(int64_t n);
}  // namespace reference

}  // namespace qroar::ops
