#include "diagnostics/tails.h"

#include <bit>
#include <cmath>

#include "base/error.h"

namespace qroar {
namespace {

constexpr int64_t kBins = int64_t{1} << 15;

int64_t bin_of(double magnitude) { return std::bit_cast<int32_t>(static_cast<float>(magnitude)) >> 16; }

float end_below(int64_t bin) { return std::bit_cast<float>(static_cast<int32_t>(bin << 16)); }

}  // namespace

void MagnitudeHistogram::add(const at::Tensor& x) {
  const at::Tensor bits = x.abs().to(at::kFloat).contiguous().view(at::kInt).bitwise_right_shift(16);
  const at::Tensor counts = at::bincount(bits.flatten(), {}, kBins);
  counts_ = counts_.defined() ? counts_ + counts : counts;
}

int64_t MagnitudeHistogram::count() const { return counts_.defined() ? counts_.sum().item<int64_t>() : 0; }

double MagnitudeHistogram::quantile(double p) const {
  const int64_t n = count();
  check(n > 0 && p > 0 && p <= 1, "a quantile of something at 0 < p <= 1");
  const auto rank = std::max(int64_t{1}, static_cast<int64_t>(std::ceil(p * static_cast<double>(n))));
  const at::Tensor sums = counts().cumsum(0);
  const auto bin = at::searchsorted(sums, rank).item<int64_t>();
  if (bin == 0) return 0;
  return (static_cast<double>(end_below(bin)) + static_cast<double>(end_below(bin + 1))) / 2;
}

int64_t MagnitudeHistogram::count_above(double c) const {
  return counts_.defined() ? counts_.slice(0, bin_of(c) + 1).sum().item<int64_t>() : 0;
}

double MagnitudeHistogram::fraction_above(double c) const {
  return static_cast<double>(count_above(c)) / static_cast<double>(count());
}

double tail_ratio(double a, double b) {
  return a == b ? 1 : a / std::max(b, static_cast<double>(std::numeric_limits<float>::min()));
}

std::map<HeadsPlace, std::vector<MagnitudeHistogram>> head_histograms(const Llama& model, const AnglesOf& angles_of,
                                                                      const std::vector<at::Tensor>& windows_T,
                                                                      const std::vector<int64_t>& edges) {
  std::map<HeadsPlace, std::vector<MagnitudeHistogram>> found;
  for (const at::Tensor& tokens_T : windows_T) {
    visit_heads(model, tokens_T, angles_of(tokens_T.size(0)), [&](const HeadsPlace& place, const at::Tensor& x_THd) {
      auto& bands = found.try_emplace(place, edges.size() - 1).first->second;
      for (std::size_t band = 0; band < bands.size(); ++band) {
        bands[band].add(band_of(x_THd, edges[band], edges[band + 1]));
      }
    });
  }
  return found;
}

std::vector<TailInflation> tail_inflation(const Llama& model, const AnglesOf& angles_of,
                                          const std::vector<at::Tensor>& short_windows_T,
                                          const std::vector<at::Tensor>& long_windows_T,
                                          const std::vector<int64_t>& edges, const std::vector<double>& ps) {
  const auto in_short = head_histograms(model, angles_of, short_windows_T, edges);
  const auto in_long = head_histograms(model, angles_of, long_windows_T, edges);
  std::vector<TailInflation> found;
  for (const auto& [place, short_before] : in_short) {
    if (place.after_rope) continue;
    const HeadsPlace turned{place.layer, place.is_key, true};
    for (std::size_t band = 0; band < short_before.size(); ++band) {
      const MagnitudeHistogram& long_before = in_long.at(place)[band];
      const MagnitudeHistogram &short_after = in_short.at(turned)[band], &long_after = in_long.at(turned)[band];
      for (const double p : ps) {
        TailInflation tail{place.layer, place.is_key, static_cast<int64_t>(band), p};
        tail.short_count = short_before[band].count();
        tail.long_count = long_before.count();
        tail.short_quantile = short_before[band].quantile(p);
        tail.long_quantile = long_before.quantile(p);
        tail.weight_ratio = tail_ratio(tail.long_quantile, tail.short_quantile);
        tail.clip = short_after.quantile(p);
        tail.short_above = short_after.count_above(tail.clip);
        tail.long_above = long_after.count_above(tail.clip);
        const double eps = 1 / static_cast<double>(tail.short_count);
        tail.activation_ratio =
            long_after.fraction_above(tail.clip) / std::max(eps, short_after.fraction_above(tail.clip));
        found.push_back(tail);
      }
    }
  }
  return found;
}

}  // namespace qroar
