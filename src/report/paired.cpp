// The paired comparison of two rows.
#include "report/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <tuple>

#include "base/error.h"

namespace qroar {
namespace {

struct Part {
  double difference = 0, tokens = 0;
};

/// Returns the 2.5th and 97.5th percentile of sum(difference) / sum(tokens) over resampled parts.
std::pair<double, double> bootstrap(const std::vector<Part>& parts) {
  constexpr std::size_t kDraws = 10'000;
  std::mt19937_64 random(0);  // reduced modulo below, since distributions differ between standard libraries
  std::vector<double> means;
  for (std::size_t draw = 0; draw < kDraws; ++draw) {
    Part sum;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Part& part = parts[random() % parts.size()];
      sum.difference += part.difference;
      sum.tokens += part.tokens;
    }
    means.push_back(sum.difference / sum.tokens);
  }
  std::ranges::sort(means);
  return {means[kDraws / 40], means[kDraws - 1 - kDraws / 40]};
}

}  // namespace

PairedDifference paired_difference(const std::vector<WindowRecord>& a, const std::vector<WindowRecord>& b) {
  const auto same = [](const WindowRecord& x, const WindowRecord& y) {
    return x.document == y.document && x.start == y.start && x.nll.count == y.nll.count;
  };
  if (a.size() != b.size() || !std::equal(a.begin(), a.end(), b.begin(), same)) return {};
  double tokens = 0, sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    tokens += static_cast<double>(a[i].nll.count);
    sum += a[i].nll.sum - b[i].nll.sum;
  }
  // Ratio estimator: the mean is sum(d_w) / sum(n_w), and the residual in window w is d_w - n_w * mean.
  const double mean = sum / tokens;
  double residual_squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double residual = a[i].nll.sum - b[i].nll.sum - static_cast<double>(a[i].nll.count) * mean;
    residual_squares += residual * residual;
  }
  const auto windows = static_cast<double>(a.size());
  const double standard_error = a.size() < 2 ? std::numeric_limits<double>::quiet_NaN()
                                             : std::sqrt(residual_squares * windows / (windows - 1)) / tokens;
  PairedDifference found{mean, standard_error, static_cast<int64_t>(a.size())};
  std::map<std::string, Part> of_document;
  for (std::size_t i = 0; i < a.size(); ++i) {
    Part& part = of_document[a[i].document];
    part.difference += a[i].nll.sum - b[i].nll.sum;
    part.tokens += static_cast<double>(a[i].nll.count);
  }
  std::vector<Part> parts;
  for (const auto& [document, part] : of_document) parts.push_back(part);
  if (parts.size() > 1) std::tie(found.low, found.high) = bootstrap(parts);
  return found;
}

}  // namespace qroar
