// How queries and keys grow from short windows to long ones: TIR_W and TIR_A of docs/method.md 3.4 (our definition;
// diagnostics/tails.h), per layer and RoPE band.  Long: the first windows of the cell; short: the first tokens of their
// documents; both under the cell's scheme.  Transforms of a cache or an online rotation are not included.
// Columns: layer, site (q_proj or k_proj), band, p, short_count, long_count, short_quantile, long_quantile, tir_w,
// clip, short_above, long_above, tir_a.
#include <set>

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
        windows_(config.get<int64_t>("windows", 2, {1, 1'000'000})),
        of_full_(config.get_choice<bool>("of", false, {{"model", false}, {"full", true}})),
        bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule& windows) const override {
    bands_.edges(llama.head_dim / 2);
    if (short_ >= windows.length) {
      config_.fail(
          fmt::format("short windows of {} tokens are no shorter than the cell's of {}; take `short: {}` or less",
                      short_, windows.length, windows.length / 2));
    }
  }

  CsvTable run(const DiagnosticInput& input) const override {
    std::vector<at::Tensor> short_windows_T, long_windows_T;
    std::set<int64_t> documents;
    for (const Window& window : input.first_windows(windows_)) {
      long_windows_T.push_back(input.tokens_T(window));
      if (documents.insert(window.document).second) short_windows_T.push_back(beginning(input, window.document));
    }
    CsvTable table{{"layer", "site", "band", "p", "short_count", "long_count", "short_quantile", "long_quantile",
                    "tir_w", "clip", "short_above", "long_above", "tir_a"},
                   {}};
    const Llama& model = of_full_ ? input.full : input.model;
    const std::vector<int64_t> edges = bands_.edges(model.config.head_dim / 2);
    for (const TailInflation& tail :
         tail_inflation(model, input.angles_of, short_windows_T, long_windows_T, edges, {0.99, 0.999})) {
      table.rows.push_back({std::to_string(tail.layer), HeadsPlace{tail.layer, tail.is_key}.site(),
                            std::to_string(tail.band), csv_number(tail.p), std::to_string(tail.short_count),
                            std::to_string(tail.long_count), csv_number(tail.short_quantile),
                            csv_number(tail.long_quantile), csv_number(tail.weight_ratio), csv_number(tail.clip),
                            std::to_string(tail.short_above), std::to_string(tail.long_above),
                            csv_number(tail.activation_ratio)});
    }
    return table;
  }

 private:
  /// Returns the first `short` tokens, including BOS; all tokens of a shorter document.
  at::Tensor beginning(const DiagnosticInput& input, int64_t document) const {
    const auto tokens = static_cast<int64_t>(input.documents[static_cast<std::size_t>(document)].tokens.size());
    const int64_t end = std::min(tokens, short_ - input.feed.added());
    return input.tokens_T({document, 0, end, end});
  }

  Config config_;
  int64_t short_, windows_;
  bool of_full_;  ///< inspect the model without rounding instead of the evaluated one
  BandsOption bands_;
};

const Register<Diagnostic, TailInflationKind> kTailInflation{
    "tail_inflation", "by how much the tails of queries and keys grow from windows of `short` tokens to the cell's",
    "{type: tail_inflation, short: 16, windows: 2, of: model, bands: 6}"};

}  // namespace
}  // namespace qroar
