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

}  // namespace qroar
