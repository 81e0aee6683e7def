// Means with standard errors, in double, over samples that are assumed to be independent, and rank correlations.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

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

/// Returns Spearman's rank correlation of pairs (x_i, y_i), where equal numbers share the mean of their ranks; nothing
/// for fewer than three pairs and where all x or all y are equal.
inline std::optional<double> rank_correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  const auto centred_rank = [&](const std::vector<double>& of, double value) {
    const auto below = std::ranges::count_if(of, [&](double other) { return other < value; }),
               equal = std::ranges::count(of, value);
    return static_cast<double>(below) + static_cast<double>(equal) / 2 - n / 2;
  };
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = centred_rank(x, x[i]), b = centred_rank(y, y[i]);
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  if (n < 3 || xx == 0 || yy == 0) return std::nullopt;
  return xy / (std::sqrt(xx) * std::sqrt(yy));
}

}  // namespace qroar
