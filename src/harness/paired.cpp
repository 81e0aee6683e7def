// The paired comparison of two rows.
#include <cmath>
#include <limits>

#include "base/error.h"
#include "harness/show.h"

namespace qroar {

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
  // Ratio estimator: the mean is sum(d_w) / sum(n_w), its residual in window w is d_w - n_w * mean.
  const double mean = sum / tokens;
  double residual_squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double residual = a[i].nll.sum - b[i].nll.sum - static_cast<double>(a[i].nll.count) * mean;
    residual_squares += residual * residual;
  }
  const auto windows = static_cast<double>(a.size());
  const double standard_error = a.size() < 2 ? std::numeric_limits<double>::quiet_NaN()
                                             : std::sqrt(residual_squares * windows / (windows - 1)) / tokens;
  return {mean, standard_error, static_cast<int64_t>(a.size())};
}

}  // namespace qroar
