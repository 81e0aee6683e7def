// Means with standard errors, in double, over samples that are assumed to be independent.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

namespace qroar {

/// The sums from which a mean and its standard error are computed; the sums of several parts may be added.
struct Moments {
  int64_t count = 0;
  double sum = 0;
  double square_sum = 0;

  void add(double x) {
    ++count;
    sum += x;
    square_sum += x * x;
  }
  Moments& operator+=(const Moments& other) {
    count += other.count;
    sum += other.sum;
    square_sum += other.square_sum;
    return *this;
  }
  double mean() const { return sum / static_cast<double>(count); }
  /// Sample standard deviation / sqrt(count); NaN for fewer than two samples.
  double standard_error() const {
    if (count < 2) return std::numeric_limits<double>::quiet_NaN();
    const auto n = static_cast<double>(count);
    const double variance = (square_sum - sum * sum / n) / (n - 1);
    return std::sqrt(std::fmax(variance, 0.0) / n);
  }
};

/// Returns the 0.975 quantile of Student's t distribution, by which a standard error is multiplied for a 95 % interval.
/// Uses Fisher's expansion about the normal quantile (Abramowitz and Stegun 26.7.5); within 1 % from 2 degrees of
/// freedom on.
inline double student_t_975(int64_t degrees) {
  if (degrees < 1) return std::numeric_limits<double>::quiet_NaN();
  if (degrees == 1) return 12.7062;
  constexpr double z = 1.959963985, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z, z9 = z7 * z * z;
  const auto v = static_cast<double>(degrees);
  return z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v * v * v) +
         (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / (92160 * v * v * v * v);
}

}  // namespace qroar
