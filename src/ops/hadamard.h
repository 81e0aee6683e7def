// Hadamard transforms of the last dimension, for rotations that spread outliers (QuaRot, arXiv 2404.00456, section 3).
// Supports orders n = m 2^k whose m has a construction by Sylvester, Paley (J. Math. Phys. 12, 1933) or Williamson
// (Duke Math. J. 11, 1944); there is no table of matrices, so an order that needs one is an Error.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>

namespace qroar::ops {

/// Returns the least m, with n = m 2^k, that has a construction: 1 for powers of two, 172 for 11008.  Throws an Error
/// that names n and the nearest supported orders below and above.
int64_t hadamard_order(int64_t n);

/// Computes y = H x for every row x of the last dimension, where H = S / sqrt(n) is orthonormal with signs
/// S = [[1, 1], [1, -1]] (x) ... (x) S_m, and (x) is the Kronecker product.  H is not symmetric for every n; applied to
/// the rows of W it gives W H^T, so that (W H^T)(H x) = W x.
///
/// Contract: float32 from x's dtype (float64 for float64); sums and differences of pairs, each rounded once; then one
/// product with signs of a small order, with sums in the order of the device's matrix product; times 1 / sqrt(n)
/// rounded to float32; one cast to x's dtype.  Integers whose sums of magnitudes stay below 2^24 are exact up to that
/// factor. Apart from the result, memory is only needed for blocks of rows. Where autograd follows x, there are two
/// products with signs in the same precision, with sums in another order.
class Hadamard {
 public:
  /// For tensors [..., n] of the dtype on the device.
  Hadamard(int64_t n, at::ScalarType dtype, const at::Device& device);

  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor differentiable(const at::Tensor& x) const;
  void transform_rows(const at::Tensor& x_RN, const at::Tensor& out_RN) const;

  int64_t n_;
  at::Tensor signs_BB_;  ///< S of order B, the factor applied as a matrix product
};

namespace reference {
/// Returns S of order n in float64, [n, n].
at::Tensor hadamard_signs(int64_t n);
}  // namespace reference

}  // namespace qroar::ops
