#include "base/interval.h"

#include <cmath>

#include "support/catch.h"

namespace qroar {

TEST_CASE("an effect that is the same in every cluster, and not 0, has the p-value 0") {
  const Estimate found = estimate({{10, {5}}, {20, {10}}, {10, {5}}, {40, {20}}});
  CHECK(found.standard_error == 0);
  CHECK(found.p_value() == 0);
  CHECK(std::isnan(estimate({{10, {0}}, {20, {0}}, {10, {0}}, {40, {0}}}).p_value()));
}

TEST_CASE("over clusters of one weight and draws, the variance and its degrees are those of a table of two ways") {
  const std::vector<std::vector<double>> x{{1, 2, 4}, {3, 3, 6}, {8, 7, 9}, {2, 5, 3}};  // clusters by draws
  const double D = 4, R = 3;
  std::vector<ClusterSums> clusters;
  std::vector<double> by_cluster(4, 0), by_draw(3, 0);
  double mean = 0;
  for (std::size_t d = 0; d < 4; ++d) {
    clusters.push_back({1, x[d]});
    for (std::size_t r = 0; r < 3; ++r) {
      by_cluster[d] += x[d][r] / R;
      by_draw[r] += x[d][r] / D;
      mean += x[d][r] / (D * R);
    }
  }
  double of_clusters = 0, of_draws = 0, both = 0;
  for (const double one : by_cluster) of_clusters += (one - mean) * (one - mean) / ((D - 1) * (D - 1));
  for (const double one : by_draw) of_draws += (one - mean) * (one - mean) / (R * (R - 1));
  for (std::size_t d = 0; d < 4; ++d) {
    for (std::size_t r = 0; r < 3; ++r) {
      const double off = x[d][r] - by_cluster[d] - by_draw[r] + mean;
      both += off * off / ((D - 1) * (D - 1) * R * (R - 1));
    }
  }
  REQUIRE((of_clusters > both && of_draws > both));
  const double variance = of_clusters + of_draws - both;
  const Estimate found = estimate(clusters);
  CHECK(found.standard_error == Approx(std::sqrt(variance)));
  CHECK(found.degrees == Approx(variance * variance /
                                (of_clusters * of_clusters / (D - 1) + of_draws * of_draws / (R - 1) +
                                 both * both / ((D - 1) * (R - 1)))));
}

TEST_CASE("Student's t agrees with SciPy's, also for fractions of a degree of freedom", "[interval]") {
  // scipy.stats.t.ppf(.975, v) and t.cdf(-1.3, v), SciPy 1.15
  struct Known {
    double degrees, quantile, cdf;
  };
  for (const auto& [degrees, quantile, cdf] :
       {Known{1, 12.706204736174694, 0.20871440016015272}, Known{2.5, 3.5746548420036817, 0.15024339463535416},
        Known{7, 2.364624251592784, 0.11738391769618862}, Known{5000, 1.9604385517065073, 0.09683044680936029}}) {
    CHECK(student_t_quantile(0.975, degrees) == Approx(quantile).epsilon(1e-9));
    CHECK(student_t_quantile(0.025, degrees) == Approx(-quantile).epsilon(1e-9));
    CHECK(student_t_cdf(-1.3, degrees) == Approx(cdf).epsilon(1e-9));
  }
}

TEST_CASE("With one draw the squared error is the sum of squared changes when each cluster is left out", "[interval]") {
  const std::vector<ClusterSums> clusters{{10, {1}}, {20, {5}}, {30, {2}}, {5, {1}}};
  const Estimate found = estimate(clusters);
  CHECK(found.value == Approx(9 / 65.0));
  double squares = 0;
  for (std::size_t left_out = 0; left_out < clusters.size(); ++left_out) {
    std::vector<ClusterSums> others = clusters;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left_out));
    squares += std::pow(estimate(others).value - found.value, 2);
  }
  CHECK(found.standard_error == Approx(std::sqrt(squares)).epsilon(1e-12));
  // NumPy, for tokens that are independent: E = I - 1 a', H = diag(a^2 / (1 - a)), M = H E diag(1 / a) E';
  // (tr M)^2 / tr M^2
  CHECK(found.degrees == Approx(2.072781655034895).epsilon(1e-12));
}

TEST_CASE("With equal weights and one draw it is the t interval, wider by sqrt(D / (D - 1))", "[interval]") {
  const Estimate found = estimate({{10, {1}}, {10, {5}}, {10, {2}}, {10, {1}}, {10, {3}}});
  CHECK(found.value == Approx(0.24));
  // Standard deviation / sqrt(5) is 0.07483314773547882.
  CHECK(found.standard_error == Approx(0.07483314773547882 * std::sqrt(5.0 / 4)));
  CHECK(found.degrees == Approx(4));
  CHECK(found.low() == Approx(0.24 - 2.7764451051977987 * found.standard_error));
}

TEST_CASE("95 of 100 intervals reach so far, a test finds what lies a power of 80 % beyond, and p has two sides",
          "[interval]") {
  const Estimate found = estimate({{10, {1}}, {10, {5}}, {10, {2}}, {10, {1}}, {10, {3}}});
  // scipy.stats.t.ppf(.975, 4), t.ppf(.8, 4) and 2 t.sf(value / error, 4), SciPy 1.15
  constexpr double kReach = 2.7764451051977934, kPower = 0.9409645772351816;
  CHECK(found.reach() == Approx(kReach * found.standard_error).epsilon(1e-9));
  CHECK(found.low() == Approx(found.value - kReach * found.standard_error).epsilon(1e-9));
  CHECK(found.high() == Approx(found.value + kReach * found.standard_error).epsilon(1e-9));
  CHECK(found.detectable() == Approx((kReach + kPower) * found.standard_error).epsilon(1e-9));
  CHECK(found.p_value() == Approx(0.04553516357490946).epsilon(1e-9));
}

TEST_CASE("Fewer than four clusters have no interval, and one has no error", "[interval]") {
  const Estimate three = estimate({{1, {1}}, {1, {2}}, {1, {4}}});
  CHECK_FALSE(three.has_interval());
  CHECK(std::isfinite(three.standard_error));
  CHECK(std::isnan(three.low()));
  CHECK(std::isnan(three.p_value()));
  CHECK(std::isnan(three.detectable()));
  CHECK(std::isnan(estimate({{1, {1, 2, 3}}}).standard_error));
}

TEST_CASE("What all documents share in a draw is an error that more documents do not remove", "[interval]") {
  std::vector<ClusterSums> clusters;
  for (int d = 0; d < 100; ++d) clusters.push_back({1, {1.0, 2.0, 3.0, 6.0}});
  const Estimate found = estimate(clusters);
  CHECK(found.value == Approx(3));
  CHECK(found.standard_error == Approx(std::sqrt(14.0 / 3 / 4)));  // standard deviation of the draws / sqrt(4)
  CHECK(found.degrees == Approx(3));
}

TEST_CASE("Benjamini-Hochberg keeps the comparisons up to the largest that meets its share", "[interval]") {
  const double none = std::nan("");
  CHECK(survives_false_discovery({0.01, 0.039, 0.03, none, 0.5}) ==
        std::vector<bool>{true, false, false, false, false});
  CHECK(survives_false_discovery({0.012, 0.037, 0.037, 0.03}) == std::vector<bool>{true, true, true, true});
  CHECK(survives_false_discovery({0.05}) == std::vector<bool>{true});  // its share itself
  CHECK(survives_false_discovery({none}) == std::vector<bool>{false});
}

TEST_CASE("Variances whose squares underflow have degrees of freedom and a p-value", "[interval]") {
  std::vector<ClusterSums> clusters;
  for (const auto& sums :
       {std::vector{1.0, 2.0, 4.5}, {2.0, 3.5, 4.0}, {0.5, 1.0, 3.0}, {1.5, 1.0, 2.5}, {3.0, 2.0, 5.0}})
    clusters.push_back({1, sums});
  const Estimate usual = estimate(clusters);
  REQUIRE(usual.degrees > 0);
  for (ClusterSums& cluster : clusters) {
    for (double& sum : cluster.sum_R) sum *= 0x1p-300;
  }
  const Estimate small = estimate(clusters);
  CHECK(small.degrees == Approx(usual.degrees).epsilon(1e-12));
  CHECK(small.p_value() == Approx(usual.p_value()).epsilon(1e-9));
}

TEST_CASE("answers that are all alike have an interval that ends where shares do", "[interval]") {
  const std::vector<ClusterSums> right(20, {1, {1}}), wrong(20, {1, {0}}),
      half{{10, {5}}, {10, {5}}, {10, {5}}, {10, {5}}};
  const Estimate all = estimate(right, Averaged::answers), none = estimate(wrong, Averaged::answers);
  CHECK_THAT(all.value, Catch::Matchers::WithinAbs(1, 1e-12));
  CHECK(all.high() == 1);
  CHECK(all.low() > 0.8);
  CHECK(all.low() < 0.9);
  CHECK(none.low() == 0);
  CHECK_THAT(none.high(), Catch::Matchers::WithinAbs(1 - all.low(), 1e-12));
  CHECK(all.clusters == 20);
  CHECK(estimate(half, Averaged::answers).low() > 0.4);  // groups of questions: two more of 40

  const Estimate same = estimate(wrong, Averaged::differences_of_answers);
  CHECK(same.value == 0);
  CHECK_THAT(same.low(), Catch::Matchers::WithinAbs(-same.high(), 1e-12));
  CHECK(same.high() > 0.1);
  CHECK(same.p_value() == 1);
  CHECK(estimate(right, Averaged::differences_of_answers).p_value() < 1e-6);
  CHECK(estimate({{1, {1}}, {1, {0}}, {1, {0}}}, Averaged::answers).has_interval() == false);
}

}  // namespace qroar
