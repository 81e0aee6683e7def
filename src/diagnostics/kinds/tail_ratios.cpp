// The weight of the tails of queries and keys: Q_0.99 and Q_0.999 of |x| over its median (paper figure 21; our
// definition, docs/method.md 3.5), in the evaluated model, per layer and RoPE band.  Quantiles are exact and of one
// window; over windows they are geometric means, weighted by tokens.
// Columns: layer, site (q_proj or k_proj), rope (before or after it), band, documents, count, q50, q99, q999, ratio_99,
// ratio_99_low, ratio_99_high, ratio_999, ratio_999_low, ratio_999_high; low and high: 95 % interval over documents.
#include <array>
#include <cmath>

#include "diagnostics/diagnostic.h"
#include "diagnostics/tails.h"
#include "rope/bands.h"

namespace qroar {
namespace {

/// The sums over windows of one band at one place.
struct Tails {
  int64_t count = 0;
  std::array<DocumentMean, 3> log_quantile;  ///< ln Q_0.5, ln Q_0.99, ln Q_0.999
  std::array<DocumentMean, 2> log_ratio;     ///< of the latter two over the first

  void add(int64_t document, const at::Tensor& x) {
    const auto weight = static_cast<double>(x.size(0));
    const std::vector<double> q = magnitude_quantiles(x, {0.5, 0.99, 0.999});
    const auto add_log = [&](DocumentMean& mean, double a, double b) {
      mean.add(document, weight, weight * log_tail_ratio(a, b));
    };
    count += x.numel();
    for (std::size_t i = 0; i < 3; ++i) add_log(log_quantile[i], q[i], 1);
    for (std::size_t i = 0; i < 2; ++i) add_log(log_ratio[i], q[i + 1], q[0]);
  }
};

class TailRatios : public Diagnostic {
 public:
  explicit TailRatios(const Config& config)
      : windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})), bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {windows_, 3}; }

  CsvTable run(const DiagnosticInput& input) const override {
    const std::vector<int64_t> edges = bands_.edges(input.model.config.pairs());
    std::map<HeadsPlace, std::vector<Tails>> places;
    for (const Window& window : input.spread_windows(windows_)) {
      const at::Tensor tokens_T = input.tokens_T(window);
      visit_heads(input.model, tokens_T, input.angles_of(tokens_T.size(0)),
                  [&](const HeadsPlace& place, const at::Tensor& x_THd) {
                    auto& bands = places.try_emplace(place, edges.size() - 1).first->second;
                    for (std::size_t band = 0; band < bands.size(); ++band) {
                      bands[band].add(input.cluster_of(window), band_of(x_THd, edges[band], edges[band + 1]));
                    }
                  });
    }
    CsvTable table{{"layer", "site", "rope", "band", "documents", "count", "q50", "q99", "q999", "ratio_99",
                    "ratio_99_low", "ratio_99_high", "ratio_999", "ratio_999_low", "ratio_999_high"},
                   {}};
    const auto e_to = [](double x) { return std::exp(x); };
    for (const auto& [place, bands] : places) {
      for (std::size_t band = 0; band < bands.size(); ++band) {
        const auto& [count, log_quantile, log_ratio] = bands[band];
        std::vector<std::string> quantiles;
        for (const DocumentMean& mean : log_quantile) quantiles.push_back(csv_number(e_to(mean.estimate().value)));
        table.rows.push_back(joined({{std::to_string(place.layer), place.site(), place.rope(), std::to_string(band),
                                      std::to_string(log_ratio[0].estimate().clusters), std::to_string(count)},
                                     quantiles,
                                     interval_fields(log_ratio[0].estimate(), e_to),
                                     interval_fields(log_ratio[1].estimate(), e_to)}));
      }
    }
    return table;
  }

 private:
  int64_t windows_;
  BandsOption bands_;
};

const Register<Diagnostic, TailRatios> kTailRatios{
    "tail_ratios", "upper quantiles of queries and keys over their median, before and after RoPE, per band",
    "{type: tail_ratios, windows: 8, bands: 6}"};

}  // namespace
}  // namespace qroar
