#include "diagnostics/tails.h"

#include <cmath>
#include <tuple>

#include "base/error.h"

namespace qroar {
namespace {

/// Sums over windows.
struct Sums {
  TailInflation counts;  ///< without its estimates and means
  DocumentMean log_short, log_long, log_ratio, log_clip, ratio_above;
};

/// The sums of every layer, site, band and p.
using AllSums = std::map<std::tuple<std::size_t, bool, int64_t, double>, Sums>;

/// Calls visit(place, band, |x| of the band) in every band.
HeadsObserver::Visit by_band(const std::vector<int64_t>& edges,
                             const std::function<void(const HeadsPlace&, int64_t, const at::Tensor&)>& visit) {
  return [&edges, visit](const HeadsPlace& place, const at::Tensor& x_RHd) {
    for (int64_t band = 0; band + 1 < std::ssize(edges); ++band) {
      const auto at = static_cast<std::size_t>(band);
      visit(place, band, band_of(x_RHd, edges[at], edges[at + 1]));
    }
  };
}

void add_window(const Llama& model, const MatchedContexts& contexts, int64_t cluster, const std::vector<int64_t>& edges,
                const std::vector<double>& ps, AllSums& all) {
  const auto weight = static_cast<double>(contexts.counted());
  std::map<std::pair<HeadsPlace, int64_t>, std::vector<double>> in_short;  // quantiles
  std::map<std::tuple<HeadsPlace, int64_t, double>, int64_t> above_short;
  const auto above = [](const at::Tensor& x, double clip) { return (x.abs() > clip).sum().item<int64_t>(); };
  contexts.visit_short(model, by_band(edges, [&](const HeadsPlace& place, int64_t band, const at::Tensor& x) {
                         const auto& found = in_short[{place, band}] = magnitude_quantiles(x, ps);
                         for (std::size_t i = 0; i < ps.size() && place.after_rope; ++i) {
                           above_short[{place, band, ps[i]}] = above(x, found[i]);
                         }
                       }));
  contexts.visit_long(model, by_band(edges, [&](const HeadsPlace& place, int64_t band, const at::Tensor& x) {
                        const std::vector<double>& short_quantiles = in_short.at({place, band});
                        const std::vector<double> found =
                            place.after_rope ? std::vector<double>() : magnitude_quantiles(x, ps);
                        for (std::size_t i = 0; i < ps.size(); ++i) {
                          Sums& sums = all[{place.layer, place.is_key, band, ps[i]}];
                          const auto add_log = [&](DocumentMean& mean, double a, double b) {
                            mean.add(cluster, weight, weight * log_tail_ratio(a, b));
                          };
                          if (place.after_rope) {
                            const int64_t in_short_above = above_short.at({place, band, ps[i]}),
                                          in_long_above = above(x, short_quantiles[i]);
                            sums.counts.short_above += in_short_above;
                            sums.counts.long_above += in_long_above;
                            sums.ratio_above.add(cluster, static_cast<double>(std::max<int64_t>(1, in_short_above)),
                                                 static_cast<double>(in_long_above));
                            add_log(sums.log_clip, short_quantiles[i], 1);
                          } else {
                            sums.counts.count += x.numel();
                            add_log(sums.log_short, short_quantiles[i], 1);
                            add_log(sums.log_long, found[i], 1);
                            add_log(sums.log_ratio, found[i], short_quantiles[i]);
                          }
                        }
                      }));
}

}  // namespace

std::vector<double> magnitude_quantiles(const at::Tensor& x, const std::vector<double>& ps) {
  const at::Tensor magnitudes = x.abs().to(ops::wide_dtype(x)).flatten();
  // On a GPU ATen selects from one row by one block of threads, and sorts with all.
  const at::Tensor sorted = magnitudes.is_cuda() ? std::get<0>(magnitudes.sort()) : at::Tensor();
  std::vector<double> found;
  for (const double p : ps) {
    check(magnitudes.numel() > 0 && p > 0 && p <= 1, "a quantile of something at 0 < p <= 1");
    const auto rank =
        std::max<int64_t>(1, static_cast<int64_t>(std::ceil(p * static_cast<double>(magnitudes.numel()))));
    const at::Tensor value = sorted.defined() ? sorted[rank - 1] : std::get<0>(magnitudes.kthvalue(rank));
    found.push_back(value.item<double>());
  }
  return found;
}

double log_tail_ratio(double a, double b) {
  constexpr auto kLeast = static_cast<double>(std::numeric_limits<float>::min());
  return a == b ? 0 : std::log(std::max(a, kLeast)) - std::log(std::max(b, kLeast));
}

double TailInflation::weight_ratio() const { return std::exp(log_weight_ratio.value); }

std::vector<TailInflation> tail_inflation(const Llama& model, const AnglesOf& angles_of, const Feed& feed,
                                          const std::vector<ClusterWindow>& windows, int64_t short_length,
                                          const std::vector<int64_t>& edges, const std::vector<double>& ps) {
  AllSums all;
  for (const ClusterWindow& window : windows) {
    add_window(model, MatchedContexts(window.tokens_T, feed, short_length, angles_of), window.cluster, edges, ps, all);
  }
  std::vector<TailInflation> found;
  for (const auto& [place, sums] : all) {
    TailInflation tail = sums.counts;
    std::tie(tail.layer, tail.is_key, tail.band, tail.p) = place;
    tail.log_weight_ratio = sums.log_ratio.estimate();
    tail.log_short_quantile = sums.log_short.estimate().value;
    tail.log_long_quantile = sums.log_long.estimate().value;
    tail.log_clip = sums.log_clip.estimate().value;
    tail.activation_ratio = sums.ratio_above.estimate();
    found.push_back(tail);
  }
  return found;
}

}  // namespace qroar
