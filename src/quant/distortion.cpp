#include "quant/distortion.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "ops/ops.h"

namespace qroar {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Number of rows of a weight processed together: float32 copies of all of lm_head would take gigabytes.
constexpr int64_t kRows = 1024;

at::Tensor row_sums(const at::Tensor& x) { return x.sum(1, /*keepdim=*/false, at::kDouble); }

}  // namespace

WeightErrors weight_errors(const at::Tensor& weight_OI, const at::Tensor& rounded_OI) {
  check(weight_OI.sizes() == rounded_OI.sizes(), "a weight and its rounding have one shape");
  std::vector<at::Tensor> signal, error, largest, clipped, zeroed;
  for (int64_t begin = 0; begin < weight_OI.size(0); begin += kRows) {
    const at::Tensor w_RI = weight_OI.slice(0, begin, begin + kRows).to(ops::wide_dtype(weight_OI));
    const at::Tensor rounded_RI = rounded_OI.slice(0, begin, begin + kRows).to(ops::wide_dtype(weight_OI));
    const at::Tensor difference_RI = (w_RI - rounded_RI).abs();
    signal.push_back(row_sums(w_RI.square()));
    error.push_back(row_sums(difference_RI.square()));
    largest.push_back(difference_RI.amax(1).to(at::kDouble));
    const at::Tensor zero_RI = rounded_RI == 0;
    const at::Tensor outside_RI = at::logical_or(w_RI<rounded_RI.amin(1, /*keepdim=*/true),  //
                                                      w_RI>
                                                     rounded_RI.amax(1, /*keepdim=*/true));
    const at::Tensor inside_R1 = difference_RI.masked_fill(outside_RI, 0).amax(1, /*keepdim=*/true);
    const at::Tensor beyond_RI = at::logical_and(outside_RI, difference_RI > inside_R1);
    clipped.push_back(at::logical_and(beyond_RI, zero_RI.logical_not()).sum(1));
    zeroed.push_back(at::logical_and(zero_RI, w_RI != 0).sum(1));
  }
  const auto joined = [](const std::vector<at::Tensor>& parts) { return at::cat(parts).to(at::kCPU); };
  return {joined(signal), joined(error), joined(largest), joined(clipped), joined(zeroed), weight_OI.size(1)};
}

OutputErrors::OutputErrors(int64_t outputs, const at::Device& device)
    : signal_O_(at::zeros({outputs}, at::TensorOptions(at::kDouble).device(device))),
      error_O_(at::zeros_like(signal_O_)) {}

void OutputErrors::add(const at::Tensor& y_RO, const at::Tensor& rounded_RO) {
  const auto wide = ops::wide_dtype(y_RO);
  const at::Tensor y = y_RO.to(wide), difference = rounded_RO.to(wide) - y;
  signal_O_.add_(y.square().sum(0, /*keepdim=*/false, at::kDouble));
  error_O_.add_(difference.square().sum(0, /*keepdim=*/false, at::kDouble));
}

double snr_db(double signal, double error) {
  if (error == 0) return kInfinity;
  return signal == 0 ? -kInfinity : 10 * std::log10(signal / error);
}

double relative_error(double signal, double error) {
  if (error == 0) return 0;
  return signal == 0 ? kInfinity : error / signal;
}

}  // namespace qroar
