// Intervals for means over clusters (documents, or groups of documents) and rounding draws; docs/method.md 5 gives the
// reasons.  Free of torch.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

namespace qroar {

/// Student's t distribution with any positive number of degrees of freedom, also fractions.
double student_t_cdf(double t, double degrees);
double student_t_quantile(double p, double degrees);

/// One cluster: its weight (tokens, windows, questions) and, for each rounding draw, the sum of what is averaged.
/// Tokens of one cluster may depend on each other in any way; clusters are independent.
struct ClusterSums {
  double weight = 0;
  std::vector<double> sum_R;
};

/// The fewest clusters that give an interval: with fewer, its width is mostly chance.
inline constexpr int64_t kFewestClusters = 4;
/// The fewest rounding draws that give an interval over draws: two hardly show how far draws lie apart, and intervals
/// over two covered the truth 88 to 91 times in 100 (docs/method.md 5.5).  One draw gives an interval given its
/// rounding.
inline constexpr int64_t kFewestDraws = 3;

/// What is averaged: of any size; answers to questions, each of weight 1, which are shares of 1 (right or wrong, the
/// overlap of words); or what such answers differ by in two rows.
enum class Averaged { anything, answers, differences_of_answers };

/// A mean sum / weight over clusters and draws, with its standard error for new clusters and new draws of the same
/// kind.  With one draw the error is that for new clusters, given this rounding.  The error is NaN for one cluster.
struct Estimate {
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  double value = kNaN;
  double standard_error = kNaN;
  double degrees = kNaN;  ///< of freedom, after Satterthwaite
  int64_t clusters = 0, draws = 0;
  double centre = kNaN;  ///< of the interval: value, but for answers
  double lowest = -std::numeric_limits<double>::infinity(), highest = -lowest;  ///< that the true value can be

  /// Returns whether there are clusters and draws enough for an interval.
  bool has_interval() const { return clusters >= kFewestClusters && (draws == 1 || draws >= kFewestDraws); }
  /// The half width of the 95 % interval; NaN where there is none.
  double reach() const;
  double low() const;
  double high() const;
  /// Returns whether two rows computed the same to the bit (a scheme with factor 1, a rule without effect), which is no
  /// comparison of what they do.
  bool is_of_equals() const { return value == 0 && standard_error == 0; }
  /// The smallest true difference that a test at 5 % finds with a probability of 80 %; NaN where there is no interval,
  /// and for equals.
  double detectable() const;
  /// The two-sided p value of the hypothesis that the true value is 0; NaN where there is no interval, and for equals.
  double p_value() const;
};

/// Returns the estimate; all clusters have the same number of draws, at least one, and positive weights.
///
/// With x_dr = sum_dr / w_d and shares a_d = w_d / sum w, the mean is D = sum_d a_d x_dr over d and the average over r.
/// Its variance has a part of clusters, one of draws, and the residual that both contain:
///   V = V_D + V_R - V_E where both are larger than V_E; else V_D where V_R is not, else V_R
///   V_D = sum_d (c_d e_d)^2, c_d = a_d / (1 - a_d), e_d the residual of cluster d's mean over draws: c_d e_d is by how
///         much D changes when cluster d is left out (the cluster jackknife, CR3 of Bell and McCaffrey 2002), which is
///         never too small on average (Hansen 2025), and makes up for skewed clusters
///   V_R = variance of the draws' means / R, V_E = the same sum over the residuals of both, / (R (R - 1))
/// Degrees of freedom: of V_D those of Bell and McCaffrey for tokens that are independent (D - 1 for equal weights),
/// R - 1 of V_R, their product of V_E, joined after Satterthwaite (1946).
///
/// Few answers do not show how rare the others are: of 20 right ones the variance is 0.  The error and the centre for
/// answers are therefore those with one more question at either end, 0 and 1, or -1 and 1 for differences, as Agresti
/// and Coull (1998) and Bonett and Price (2012) add to proportions; the interval of shares ends at 0 and 1.
/// tests/unit/coverage_test.cpp measures how often the intervals cover the truth.
Estimate estimate(const std::vector<ClusterSums>& clusters, Averaged averaged = Averaged::anything);

/// Returns the estimate of the mean over several alternatives (random directions), each with the same clusters and
/// draws, for new clusters, draws and alternatives.  V = V_r + V_k - V_D, at least the larger, where V_r is
/// estimate()'s variance of the alternatives' mean, V_k that of the draws' mean with the alternatives in the place of
/// draws, and V_D, which both contain, that of the mean over both.  With one draw it is V_k, given this rounding.
Estimate estimate_of_alternatives(const std::vector<std::vector<ClusterSums>>& alternatives);

/// Returns for each p value whether it survives the procedure of Benjamini and Hochberg (1995) at a false discovery
/// rate of 5 %; NaNs are no comparisons and do not survive.
std::vector<bool> survives_false_discovery(const std::vector<double>& p_values);

}  // namespace qroar
