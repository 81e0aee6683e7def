#include "base/interval.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"

namespace qroar {
namespace {

constexpr double kLevel = 0.05, kPower = 0.8, kFalseDiscoveryRate = 0.05;

/// Returns the continued fraction of the incomplete beta function I_x(a, b) by the modified Lentz method
/// (DLMF 8.17.22); converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  constexpr int kMost = 10'000;
  const auto away_from_0 = [](double y) { return std::abs(y) < kTiny ? kTiny : y; };
  double c = 1, d = 1 / away_from_0(1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m < kMost; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                 odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double step = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_0(1 + term * d);
      c = away_from_0(1 + term / c);
      step = c * d;
      fraction *= step;
    }
    if (std::abs(step - 1) < 1e-15) break;
  }
  return fraction;
}

/// Returns the regularized incomplete beta function I_x(a, b).
double incomplete_beta(double x, double a, double b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(1 - x, b, a);
  const double log_front = std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  return std::exp(log_front) * beta_fraction(x, a, b) / a;
}

/// A variance and its degrees of freedom.
struct Variance {
  double value = 0, degrees = 0;
};

/// Returns Bell and McCaffrey's degrees of freedom for clusters with shares a_d of independent tokens: (tr M)^2 / tr
/// M^2 of the quadratic form with M_ij = a_i c_i (delta_ij / a_i - 1), c_i = a_i / (1 - a_i), whose trace is 1.
double cluster_degrees(const std::vector<double>& share_D) {
  double diagonal = 0, sum = 0, squares = 0;
  for (const double a : share_D) {
    const double ac = a * a / (1 - a);
    diagonal += a * a;
    sum += ac;
    squares += ac * ac;
  }
  // The difference is negative by rounding alone, where one cluster has nearly all.
  return 1 / (diagonal + std::max(0.0, sum * sum - squares));
}

/// Joins the parts as the head of the header says.
Variance joined(const Variance& of_clusters, const Variance& of_draws, const Variance& residual) {
  if (of_draws.value <= residual.value) return of_clusters;
  if (of_clusters.value <= residual.value) return of_draws;
  const double sum = of_clusters.value + of_draws.value - residual.value;
  double inverse = 0;  // of the degrees; in shares of the sum, since squares of small variances would underflow
  for (const Variance& part : {of_clusters, of_draws, residual})
    inverse += (part.value / sum) * (part.value / sum) / part.degrees;
  return {sum, 1 / inverse};
}

/// Returns the quantile of the interval's ends; an estimate's callers ask for it several times in a row.
double end_quantile(double degrees) {
  thread_local double last_degrees = Estimate::kNaN, last = Estimate::kNaN;
  if (degrees != last_degrees) {
    last = student_t_quantile(1 - kLevel / 2, degrees);
    last_degrees = degrees;
  }
  return last;
}

/// Returns the estimate with the error and the interval of two more questions.
Estimate estimate_of_answers(std::vector<ClusterSums> clusters, Averaged averaged) {
  Estimate found = estimate(clusters);
  const bool are_shares = averaged == Averaged::answers;
  const std::size_t R = clusters.front().sum_R.size();
  for (const double end : {are_shares ? 0.0 : -1.0, 1.0}) clusters.push_back({1, std::vector<double>(R, end)});
  const Estimate more = estimate(clusters);
  found.centre = more.value;
  if (are_shares) {
    found.lowest = 0;
    found.highest = 1;
  }
  found.standard_error = more.standard_error;
  found.degrees = more.degrees;
  return found;
}

}  // namespace

double student_t_cdf(double t, double degrees) {
  const double tail = incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2;
  return t < 0 ? tail : 1 - tail;
}

double student_t_quantile(double p, double degrees) {
  if (p < 0.5) return -student_t_quantile(1 - p, degrees);
  double low = 0, high = 1;
  while (student_t_cdf(high, degrees) < p && high < 1e300) high *= 2;
  const double log_norm =
      std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2) - std::log(degrees * std::numbers::pi) / 2;
  double t = low + (high - low) / 2;
  for (int step = 0; step < 200; ++step) {  // Newton's method, or bisection where that leaves the bracket
    const double off = student_t_cdf(t, degrees) - p;
    (off < 0 ? low : high) = t;
    const double density = std::exp(log_norm - (degrees + 1) / 2 * std::log1p(t * t / degrees));
    double next = t - off / density;
    if (!(next > low && next < high)) next = low + (high - low) / 2;
    if (std::abs(next - t) <= 4e-16 * t) break;
    t = next;
  }
  return t;
}

double Estimate::reach() const { return has_interval() ? standard_error * end_quantile(degrees) : kNaN; }

double Estimate::low() const {
  const double end = centre - reach();
  return end < lowest ? lowest : end;  // NaN stays
}

double Estimate::high() const {
  const double end = centre + reach();
  return end > highest ? highest : end;
}

double Estimate::detectable() const {
  if (!has_interval() || is_of_equals()) return kNaN;
  return standard_error * (end_quantile(degrees) + student_t_quantile(kPower, degrees));
}

double Estimate::p_value() const {
  if (!has_interval() || is_of_equals()) return kNaN;
  if (standard_error == 0) return 0;
  return 2 * student_t_cdf(-std::abs(centre) / standard_error, degrees);
}

Estimate estimate(const std::vector<ClusterSums>& clusters, Averaged averaged) {
  if (averaged != Averaged::anything) return estimate_of_answers(clusters, averaged);
  check(!clusters.empty() && !clusters.front().sum_R.empty(), "an estimate has clusters and draws");
  const std::size_t D = clusters.size(), R = clusters.front().sum_R.size();
  double weight = 0;
  for (const ClusterSums& cluster : clusters) weight += cluster.weight;
  std::vector<double> share_D, mean_D, mean_R(R);
  for (const auto& [own, sum_R] : clusters) {
    check(own > 0 && sum_R.size() == R, "every cluster has a weight and all draws");
    share_D.push_back(own / weight);
    mean_D.push_back(std::accumulate(sum_R.begin(), sum_R.end(), 0.0) / own / static_cast<double>(R));
    for (std::size_t r = 0; r < R; ++r) mean_R[r] += sum_R[r] / weight;
  }
  Estimate found;
  found.value = std::accumulate(mean_R.begin(), mean_R.end(), 0.0) / static_cast<double>(R);
  found.clusters = static_cast<int64_t>(D);
  found.draws = static_cast<int64_t>(R);
  found.centre = found.value;
  if (D < 2) return found;

  Variance of_clusters{0, cluster_degrees(share_D)}, of_draws, residual;
  for (std::size_t d = 0; d < D; ++d) {
    const double c = share_D[d] / (1 - share_D[d]), off = mean_D[d] - found.value;
    of_clusters.value += c * c * off * off;
    for (std::size_t r = 0; r < R && R > 1; ++r) {
      const double both = clusters[d].sum_R[r] / clusters[d].weight - mean_D[d] - mean_R[r] + found.value;
      residual.value += c * c * both * both / static_cast<double>(R * (R - 1));
    }
  }
  for (std::size_t r = 0; r < R && R > 1; ++r) {
    of_draws.value += (mean_R[r] - found.value) * (mean_R[r] - found.value) / static_cast<double>(R * (R - 1));
  }
  of_draws.degrees = static_cast<double>(R) - 1;
  residual.degrees = of_clusters.degrees * of_draws.degrees;
  const Variance all = R > 1 ? joined(of_clusters, of_draws, residual) : of_clusters;
  found.standard_error = std::sqrt(all.value);
  found.degrees = all.degrees;
  return found;
}

Estimate estimate_of_alternatives(const std::vector<std::vector<ClusterSums>>& alternatives) {
  check(!alternatives.empty(), "an alternative");
  std::vector<ClusterSums> over_draws, over_alternatives, over_neither;
  const std::size_t D = alternatives.front().size(), R = alternatives.front().front().sum_R.size();
  for (std::size_t d = 0; d < D; ++d) {
    const double weight = alternatives.front()[d].weight;
    ClusterSums of_draws{weight, std::vector<double>(R, 0)}, of_alternatives{weight, {}}, of_both{weight, {0}};
    for (const std::vector<ClusterSums>& one : alternatives) {
      const std::vector<double>& sum_R = one[d].sum_R;
      const double mean = std::accumulate(sum_R.begin(), sum_R.end(), 0.0) / static_cast<double>(R);
      for (std::size_t r = 0; r < R; ++r) of_draws.sum_R[r] += sum_R[r] / static_cast<double>(alternatives.size());
      of_alternatives.sum_R.push_back(mean);
      of_both.sum_R[0] += mean / static_cast<double>(alternatives.size());
    }
    over_draws.push_back(std::move(of_draws));
    over_alternatives.push_back(std::move(of_alternatives));
    over_neither.push_back(std::move(of_both));
  }
  Estimate found = estimate(over_draws);
  const Estimate of_alternatives = estimate(over_alternatives), of_clusters = estimate(over_neither);
  const auto variance = [](const Estimate& one) {
    return Variance{one.standard_error * one.standard_error, one.degrees};
  };
  const Variance all =
      R == 1 ? variance(of_alternatives) : joined(variance(found), variance(of_alternatives), variance(of_clusters));
  found.standard_error = std::sqrt(all.value);
  found.degrees = all.degrees;
  return found;
}

std::vector<bool> survives_false_discovery(const std::vector<double>& p_values) {
  std::vector<double> sorted;
  for (const double p : p_values) {
    if (!std::isnan(p)) sorted.push_back(p);
  }
  std::ranges::sort(sorted);
  double largest = -1;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double limit = kFalseDiscoveryRate * static_cast<double>(i + 1) / static_cast<double>(sorted.size());
    if (sorted[i] <= limit) largest = sorted[i];
  }
  std::vector<bool> survives;
  for (const double p : p_values) survives.push_back(p <= largest);
  return survives;
}

}  // namespace qroar
