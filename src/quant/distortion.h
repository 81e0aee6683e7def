// How far rounding moves a weight and a linear layer's output, per output row, so that rows can be summed by band.
#pragma once
#include <ATen/ATen.h>

namespace qroar {

/// Errors of one weight [O, I] against the same weight rounded.  Contract: differences and squares in float32 (float64
/// for a float64 weight), sums over a row in float64.  All tensors are [O], on the CPU.
struct WeightErrors {
  at::Tensor signal_O, error_O;    ///< float64: sums of w^2 and (w - w')^2
  at::Tensor max_error_O;          ///< float64: max |w - w'|
  at::Tensor clipped_O, zeroed_O;  ///< int64: numbers of weights
  int64_t columns = 0;
};

/// Computes the errors of a rounded weight.
/// Clipped: w lies beyond the row's extremes after rounding, its w' is not zero, and |w - w'| is larger than for every
/// weight between them, so that rounding alone does not explain it.  This needs no knowledge of the format's grid;
/// where groups within a row have their own scales, it misses clipped weights in the groups with narrower ranges.
/// Zeroed: w is not zero and w' is.
WeightErrors weight_errors(const at::Tensor& weight_OI, const at::Tensor& rounded_OI);

/// Sums over rows of outputs, which may come in blocks.  Same contract as WeightErrors.
class OutputErrors {
 public:
  OutputErrors(int64_t outputs, const at::Device& device);
  void add(const at::Tensor& y_RO, const at::Tensor& rounded_RO);

  const at::Tensor& signal_O() const { return signal_O_; }  ///< float64 on the device: sums of y^2
  const at::Tensor& error_O() const { return error_O_; }    ///< float64 on the device: sums of (y - y')^2

 private:
  at::Tensor signal_O_, error_O_;
};

/// Returns 10 log10(signal / error) in dB: infinity for no error, minus infinity for an error without a signal.
double snr_db(double signal, double error);

/// Returns error / signal: 0 for no error, infinity for an error without a signal.
double relative_error(double signal, double error);

}  // namespace qroar
