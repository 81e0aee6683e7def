// Estimates over clusters, and the procedure of Benjamini and Hochberg, of any numbers, NaN and infinity among them.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/interval.h"
#include "fuzz.h"
#include "report/table.h"

namespace qroar {
namespace {

double any_double(FuzzedDataProvider& from) {
  if (from.ConsumeBool()) return from.ConsumeIntegralInRange<int>(-20, 20);
  return from.ConsumeFloatingPoint<double>();
}

void check_estimate(FuzzedDataProvider& from) {
  std::vector<ClusterSums> clusters(from.ConsumeIntegralInRange<std::size_t>(1, 12));
  const auto draws = from.ConsumeIntegralInRange<std::size_t>(1, 4);
  double least = HUGE_VAL, most = -HUGE_VAL;
  for (ClusterSums& cluster : clusters) {
    cluster.weight = from.ConsumeBool() ? from.ConsumeIntegralInRange<int>(1, 1000)
                                        : from.ConsumeFloatingPointInRange<double>(1e-9, 1e12);
    for (std::size_t draw = 0; draw < draws; ++draw) {
      cluster.sum_R.push_back(any_double(from));
      least = std::min(least, cluster.sum_R.back() / cluster.weight);
      most = std::max(most, cluster.sum_R.back() / cluster.weight);
    }
  }
  const Estimate found = estimate(clusters);
  must(found.clusters == std::ssize(clusters) && found.draws == static_cast<int64_t>(draws), "the counts");
  must_be_one_line(with_interval(found.value, found.low(), found.high()));
  must_be_one_line(effect_text(found, false));
  if (!std::isfinite(found.value)) return;
  const double slack = 1e-9 * std::max(std::abs(least), std::abs(most));
  must(found.value >= least - slack && found.value <= most + slack,
       fmt::format("the mean {} of {} to {}", found.value, least, most));
  must(!(found.standard_error < 0), fmt::format("the standard error {}", found.standard_error));
  if (!found.has_interval() || !std::isfinite(found.standard_error)) return;
  must(found.low() <= found.value && found.value <= found.high(),
       fmt::format("the interval {} to {}", found.low(), found.high()));
  must(found.standard_error == 0 || found.degrees > 0, fmt::format("{} degrees of freedom", found.degrees));
  must(found.p_value() >= 0 && found.p_value() <= 1,
       fmt::format("the p value {} of {} +- {}, {} degrees", found.p_value(), found.value, found.standard_error,
                   found.degrees));
}

void check_survivors(FuzzedDataProvider& from) {
  std::vector<double> p(from.ConsumeIntegralInRange<std::size_t>(0, 20));
  for (double& value : p)
    value = from.ConsumeBool()   ? from.ConsumeProbability<double>() / 16
            : from.ConsumeBool() ? NAN
                                 : from.ConsumeProbability<double>();
  const std::vector<bool> survives = survives_false_discovery(p);
  must(survives.size() == p.size(), "an answer for each");
  for (std::size_t i = 0; i < p.size(); ++i) {
    must(!survives[i] || p[i] <= 0.05, fmt::format("p = {} survives", p[i]));
    for (std::size_t j = 0; j < p.size(); ++j)
      must(!survives[i] || survives[j] || !(p[j] <= p[i]), "a smaller p survives too");
  }
}

void check_student_t(FuzzedDataProvider& from) {
  const double degrees = from.ConsumeFloatingPointInRange<double>(0.5, 1e6),
               t = from.ConsumeFloatingPointInRange<double>(-50, 50);
  const double p = student_t_cdf(t, degrees);
  must(p >= 0 && p <= 1 && std::abs(p + student_t_cdf(-t, degrees) - 1) < 1e-9,
       fmt::format("cdf({}, {}) = {}", t, degrees, p));
  if (p < 1e-6 || p > 1 - 1e-6) return;
  must(std::abs(student_t_quantile(p, degrees) - t) <= 1e-6 * (1 + std::abs(t)),
       fmt::format("the quantile of {} with {}", p, degrees));
}

}  // namespace

void fuzz_one(std::string_view input) {
  FuzzedDataProvider from(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  check_student_t(from);
  check_survivors(from);
  check_estimate(from);
}

}  // namespace qroar
