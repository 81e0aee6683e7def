// Counts values of queries and keys beyond 6 standard deviations of their channel (paper figure 20; our definition:
// distance from the channel's mean over all inspected tokens), in the evaluated model, per layer and RoPE band.  Needs
// two forwards per window: the first for mean and deviation, in float64, the second to count.  Of n values none lies
// beyond sqrt(n - 1) deviations: fewer than 38 tokens have no outliers.
// Columns: layer, site (q_proj or k_proj), rope (before or after it), band, documents, count, outliers, fraction,
// fraction_low, fraction_high: 95 % interval over documents, given the channels' means and deviations.
#include <cmath>

#include "diagnostics/by_document.h"
#include "diagnostics/diagnostic.h"
#include "diagnostics/heads.h"
#include "rope/bands.h"

namespace qroar {
namespace {

constexpr double kSigmas = 6;

/// The statistics of every channel at one place, [heads, d] in float64.
struct Channels {
  int64_t tokens = 0;
  at::Tensor sum_Hd, square_sum_Hd;
  std::map<int64_t, int64_t> tokens_of;       ///< by document
  std::map<int64_t, at::Tensor> outliers_Hd;  ///< by document

  void add(const at::Tensor& x_THd) {
    tokens += x_THd.size(0);
    std::vector<at::Tensor> sums, square_sums;
    for (const at::Tensor& x_Td : x_THd.unbind(1)) {  // head by head, to avoid a float64 copy of all of it
      const at::Tensor wide_Td = x_Td.to(at::kDouble);
      sums.push_back(wide_Td.sum(0));
      square_sums.push_back(wide_Td.square().sum(0));
    }
    accumulate(sum_Hd, at::stack(sums));
    accumulate(square_sum_Hd, at::stack(square_sums));
  }

  /// Returns the distance beyond which a value is an outlier, but infinity for a channel that is constant up to
  /// rounding.
  at::Tensor limit_Hd() const {
    const at::Tensor mean_Hd = sum_Hd / tokens, square_Hd = square_sum_Hd / tokens;
    const at::Tensor variance_Hd = square_Hd - mean_Hd.square();
    return at::where(variance_Hd > 1e-12 * square_Hd, kSigmas * variance_Hd.clamp_min(0).sqrt(), HUGE_VAL);
  }

  void count(int64_t document, const at::Tensor& x_THd) {
    tokens_of[document] += x_THd.size(0);
    const at::Tensor mean_Hd = sum_Hd / tokens, limits_Hd = limit_Hd();
    std::vector<at::Tensor> beyond;
    for (int64_t head = 0; head < x_THd.size(1); ++head) {
      const at::Tensor distance_Td = (x_THd.select(1, head).to(at::kDouble) - mean_Hd[head]).abs();
      beyond.push_back((distance_Td > limits_Hd[head]).sum(0));
    }
    accumulate(outliers_Hd[document], at::stack(beyond));
  }

 private:
  static void accumulate(at::Tensor& total, const at::Tensor& part) { total = total.defined() ? total + part : part; }
};

class OutlierCounts : public Diagnostic {
 public:
  explicit OutlierCounts(const Config& config)
      : windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})), bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {windows_, 2}; }

  CsvTable run(const DiagnosticInput& input) const override {
    std::map<HeadsPlace, Channels> places;
    visit(input, [&](int64_t, const HeadsPlace& place, const at::Tensor& x_THd) { places[place].add(x_THd); });
    visit(input, [&](int64_t document, const HeadsPlace& place, const at::Tensor& x_THd) {
      places[place].count(document, x_THd);
    });
    CsvTable table{{"layer", "site", "rope", "band", "documents", "count", "outliers", "fraction", "fraction_low",
                    "fraction_high"},
                   {}};
    const std::vector<int64_t> edges = bands_.edges(input.model.config.pairs());
    for (const auto& [place, channels] : places) {
      for (std::size_t band = 0; band + 1 < edges.size(); ++band) {
        int64_t count = 0, found = 0;
        DocumentMean fraction;
        for (const auto& [document, outliers_Hd] : channels.outliers_Hd) {
          const at::Tensor outliers = band_of(outliers_Hd, edges[band], edges[band + 1]);
          const int64_t own = outliers.numel() * channels.tokens_of.at(document),
                        beyond = outliers.sum().item<int64_t>();
          fraction.add(document, static_cast<double>(own), static_cast<double>(beyond));
          count += own;
          found += beyond;
        }
        table.rows.push_back(
            joined({{std::to_string(place.layer), place.site(), place.rope(), std::to_string(band),
                     std::to_string(fraction.estimate().clusters), std::to_string(count), std::to_string(found)},
                    rate_fields(fraction.estimate())}));
      }
    }
    return table;
  }

 private:
  /// Calls visitor(document, place, x_THd) in all windows.
  void visit(const DiagnosticInput& input,
             const std::function<void(int64_t, const HeadsPlace&, const at::Tensor&)>& visitor) const {
    for (const Window& window : input.spread_windows(windows_)) {
      const at::Tensor tokens_T = input.tokens_T(window);
      visit_heads(
          input.model, tokens_T, input.angles_of(tokens_T.size(0)),
          [&](const HeadsPlace& place, const at::Tensor& x_THd) { visitor(input.cluster_of(window), place, x_THd); });
    }
  }

  int64_t windows_;
  BandsOption bands_;
};

const Register<Diagnostic, OutlierCounts> kOutlierCounts{
    "outlier_counts", "queries and keys beyond 6 standard deviations of their channel, before and after RoPE, per band",
    "{type: outlier_counts, windows: 8, bands: 6}"};

}  // namespace
}  // namespace qroar
