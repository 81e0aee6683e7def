// How queries and keys grow with context: TIR_W and TIR_A of docs/method.md 3.4 (our definition; diagnostics/tails.h),
// per layer and RoPE band.  Long: windows of the cell; short: the same tokens cut into pieces of `short` tokens, each
// alone at positions 0, 1, ... with BOS as the cell's feed has it; both under the cell's scheme, with the tokens that
// begin a piece left out of both (diagnostics/matched.h).  Layer 0 before RoPE is exactly 1.  Transforms of a cache or
// an online rotation are in the hidden states, and not in the queries and keys that are looked at.
// Columns: layer, site (q_proj or k_proj), band, p, documents, count (values in each set), short_quantile and
// long_quantile (Q_p before RoPE, geometric means over windows), tir_w, tir_w_low, tir_w_high, clip (Q_p after RoPE in
// short contexts, geometric mean), short_above and long_above (values beyond their window's clip), tir_a, tir_a_low,
// tir_a_high; low and high: 95 % interval over documents, empty below four.
#include <cmath>

#include "diagnostics/diagnostic.h"
#include "diagnostics/tails.h"
#include "rope/bands.h"

namespace qroar {
namespace {

class TailInflationKind : public Diagnostic {
 public:
  explicit TailInflationKind(const Config& config)
      : config_(config),
        short_(config.get<int64_t>("short", 512, {2, int64_t{1} << 31})),
        windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})),
        of_full_(config.get_choice<bool>("of", false, {{"model", false}, {"full", true}})),
        bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule& windows) const override {
    bands_.edges(llama.pairs());
    check_short_context(config_, short_, windows.length);
  }

  DiagnosticWork work() const override { return {windows_, 4}; }

  CsvTable run(const DiagnosticInput& input) const override {
    const std::vector<ClusterWindow> windows = matched_windows(config_, input, short_, windows_);
    const auto e_to = [](double x) { return std::exp(x); };
    CsvTable table{{"layer", "site", "band", "p", "documents", "count", "short_quantile", "long_quantile", "tir_w",
                    "tir_w_low", "tir_w_high", "clip", "short_above", "long_above", "tir_a", "tir_a_low", "tir_a_high"},
                   {}};
    const Llama& model = of_full_ ? input.full : input.model;
    const std::vector<int64_t> edges = bands_.edges(model.config.pairs());
    for (const TailInflation& tail :
         tail_inflation(model, input.angles_of, input.feed, windows, short_, edges, {0.99, 0.999})) {
      table.rows.push_back(
          joined({{std::to_string(tail.layer), HeadsPlace{tail.layer, tail.is_key}.site(), std::to_string(tail.band),
                   csv_number(tail.p), std::to_string(tail.log_weight_ratio.clusters), std::to_string(tail.count),
                   csv_number(e_to(tail.log_short_quantile)), csv_number(e_to(tail.log_long_quantile))},
                  interval_fields(tail.log_weight_ratio, e_to),
                  {csv_number(e_to(tail.log_clip)), std::to_string(tail.short_above), std::to_string(tail.long_above)},
                  rate_fields(tail.activation_ratio)}));
    }
    return table;
  }

 private:
  Config config_;
  int64_t short_, windows_;
  bool of_full_;  ///< inspect the model without rounding instead of the evaluated one
  BandsOption bands_;
};

const Register<Diagnostic, TailInflationKind> kTailInflation{
    "tail_inflation", "by how much the tails of queries and keys grow from contexts of `short` tokens to the cell's",
    "{type: tail_inflation, short: 16, windows: 8, of: model, bands: 6}"};

}  // namespace
}  // namespace qroar
