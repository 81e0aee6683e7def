// The interface of a fake quantizer of weights and activations: it returns the tensor in its own dtype with its values
// on the quantizer's grid.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/registry.h"
#include "model/site.h"

namespace qroar {

/// How Q(diag(g) W) relates to diag(g) Q(W) for row factors g > 0 (docs/method.md 4.2).
enum class RowScaling {
  differs,        ///< no relation
  powers_of_two,  ///< equal for powers of two
  any,            ///< equal for powers of two, and up to rounding for other factors
};

class Quantizer {
 public:
  static constexpr const char* kKind = "quantizer";
  virtual ~Quantizer() = default;

  /// Throws an Error with the layer, its sizes and the sizes that are valid, when this quantizer cannot quantize the
  /// layer's shape.
  virtual void check_site(const LinearSite& site) const = 0;

  /// Quantizes weight_OI, contiguous [rows, columns], row-major output by input features.  Shape and dtype are kept;
  /// zero stays zero where keeps_zero() is true.
  virtual at::Tensor fake_quantize(const at::Tensor& weight_OI) const = 0;

  /// Returns the stored bits per weight of a layer, including scales and zeros, at the width in which the format stores
  /// them (rtn has no storage format of its own: scales count as float16, zeros have the code's width).
  virtual double bits_per_weight(const LinearSite& site) const = 0;

  /// Returns nothing when the result of a row depends on that row alone, wherever it stands; otherwise what couples
  /// rows, and what to write instead.  For activations rows are tokens, and a quantizer that couples them lets a token
  /// see later ones.
  virtual std::optional<std::string> couples_rows(const LinearSite& site) const = 0;

  virtual RowScaling commutes_with_row_scaling(const LinearSite& site) const = 0;

  /// Returns the parts of activations [rows, columns] that share a scale, as rows [N, S]: a tensor for each size S.
  virtual std::vector<at::Tensor> groups(const at::Tensor& x_RC) const { return {x_RC}; }

  /// Returns fake_quantize() of activations on the grid of a range known beforehand, where lo and hi are float32
  /// tensors of one element; empty when the quantizer has more than one range per tensor.
  virtual std::function<at::Tensor(const at::Tensor&)> with_range(const at::Tensor& /*lo*/,
                                                                  const at::Tensor& /*hi*/) const {
    return {};
  }

  /// Returns whether 0 is on every grid.
  virtual bool keeps_zero() const { return true; }

  /// Returns whether quantizing a quantized weight gives the same bits.
  virtual bool idempotent() const { return false; }
};

}  // namespace qroar
