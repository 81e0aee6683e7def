// How far rounding moves a weight and a linear layer's output, per output row, so that rows can be added up in bands.
#pragma once
#include <ATen/ATen.h>

namespace qroar {

/// Of one weight [O, I] and the same weight rounded.  Contract: differences and squares in float32 (float64 for a
/// float64 weight), sums over a row in float64.  All tensors [O], on the CPU.
struct WeightErrors {
  at::Tensor signal_O, error_O;    ///< float64: sums of w^2 and (w - w')^2
  at::Tensor max_error_O;          ///< float64: max |w - w'|
  at::Tensor clipped_O, zeroed_O;  ///< int64: numbers of weights
  int64_t columns = 0;
};

/// Clipped: w lies beyond the row's extremes after rounding, its w' is not zero, and |w - w'| is above that of every
/// weight between them, so that rounding alone does not explain it.  This asks no format for its grid; where groups
/// within a row have scales of their own, it misses what is clipped in the narrower ones.
/// Zeroed: w is not zero and w' is.
WeightErrors weight_errors(const at::Tensor& weight_OI, const at::Tensor& rounded_OI);

/// Sums over rows of outputs, which may come in blocks.  Contract as above.
class OutputErrors {
 public:
  OutputErrors(int64_t outputs, const at::Device& device);
  void add(const at::Tensor& y_RO, const at::Tensor& rounded_RO);

  const at::Tensor& signal_O() const { return signal_O_; }  ///< float64 on the device: sums of y^2
  const at::Tensor& error_O() const { return error_O_; }    ///< of (y - y')^2

 private:
  at::Tensor signal_O_, error_O_;
};

/// 10 log10(signal / error) in dB: infinite without an error, minus infinity for an error without a signal.
double snr_db(double signal, double error);

/// error / signal; 0 without an error, infinite for an error without a signal.
double relative_error(double signal, double error);

}  // namespace qroar
