// The interface of a fake quantizer of weights and activations: the tensor comes back in its own dtype with its values
// on the quantizer's grid.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <string>

#include "config/registry.h"
#include "model/site.h"

namespace qroar {

/// How Q(diag(g) W) relates to diag(g) Q(W) for row factors g > 0 (docs/method.md 4.2).
enum class RowScaling {
  differs,        ///< in any way
  powers_of_two,  ///< equal for powers of two
  any,            ///< equal for powers of two, and up to rounding for other factors
};

class Quantizer {
 public:
  static constexpr const char* kKind = "quantizer";
  virtual ~Quantizer() = default;

  /// Throws an Error naming the layer, its sizes and the sizes that would do, when this quantizer cannot take the
  /// layer's shape.
  virtual void check_site(const LinearSite& site) const = 0;

  /// weight_OI, contiguous [rows, columns], row-major output by input features.  Shape and dtype are kept; zero stays
  /// zero where keeps_zero() says so.
  virtual at::Tensor fake_quantize(const at::Tensor& weight_OI) const = 0;

  /// Stored bits per weight of a layer, scales and zeros included, at the width the format stores them in (for rtn,
  /// which has none of its own: scales as float16, zeros at the code's width).
  virtual double bits_per_weight(const LinearSite& site) const = 0;

  /// Nothing where a row's result depends on that row alone; else what couples rows of such a matrix, and what to write
  /// instead.  Among activations rows are tokens, and a quantizer that couples them lets a token see later ones.
  virtual std::optional<std::string> couples_rows(const LinearSite& site) const = 0;

  virtual RowScaling commutes_with_row_scaling(const LinearSite& site) const = 0;

  /// fake_quantize() of activations on the grid of a range known beforehand, lo and hi being float32 tensors of one
  /// element; empty where the quantizer has more than one range a tensor.
  virtual std::function<at::Tensor(const at::Tensor&)> with_range(const at::Tensor& /*lo*/,
                                                                  const at::Tensor& /*hi*/) const {
    return {};
  }

  /// Is 0 on every grid?
  virtual bool keeps_zero() const { return true; }

  /// Does quantizing a quantized weight give the same bits?
  virtual bool idempotent() const { return false; }
};

}  // namespace qroar
