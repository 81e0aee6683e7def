// The weight of the tails of queries and keys: Q_0.99 and Q_0.999 of |x| over its median (paper figure 21; our
// definition, docs/method.md 3.5), in the evaluated model, per layer and RoPE band.
// Columns: layer, site (q_proj or k_proj), rope (before or after it), band, count, q50, q99, q999, ratio_99, ratio_999.
#include "diagnostics/diagnostic.h"
#include "diagnostics/tails.h"
#include "rope/bands.h"

namespace qroar {
namespace {

class TailRatios : public Diagnostic {
 public:
  explicit TailRatios(const Config& config)
      : windows_(config.get<int64_t>("windows", 2, {1, 1'000'000})), bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.head_dim / 2); }

  CsvTable run(const DiagnosticInput& input) const override {
    std::vector<at::Tensor> windows_T;
    for (const Window& window : input.first_windows(windows_)) windows_T.push_back(input.tokens_T(window));
    CsvTable table{{"layer", "site", "rope", "band", "count", "q50", "q99", "q999", "ratio_99", "ratio_999"}, {}};
    const std::vector<int64_t> edges = bands_.edges(input.model.config.head_dim / 2);
    for (const auto& [place, bands] : head_histograms(input.model, input.angles_of, windows_T, edges)) {
      for (std::size_t band = 0; band < bands.size(); ++band) {
        const double q50 = bands[band].quantile(0.5), q99 = bands[band].quantile(0.99),
                     q999 = bands[band].quantile(0.999);
        table.rows.push_back({std::to_string(place.layer), place.site(), place.rope(), std::to_string(band),
                              std::to_string(bands[band].count()), csv_number(q50), csv_number(q99), csv_number(q999),
                              csv_number(tail_ratio(q99, q50)), csv_number(tail_ratio(q999, q50))});
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
    "{type: tail_ratios, windows: 2, bands: 6}"};

}  // namespace
}  // namespace qroar
