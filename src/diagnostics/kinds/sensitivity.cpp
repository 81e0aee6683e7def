// How much the loss depends on the interpolation factor s, on scales of bands and on frequencies: derivatives of the
// mean NLL by autograd (eval/gradient.h), in the evaluated model, per layer, RoPE band and pair (docs/method.md 3.9).
// Rounding of activations counts as the identity, rounded weights are constants.  A layer without number is all layers
// at once, a band without number all bands: derivatives by what these have in common, sums of their parts.
// Parameters: ln_omega (the pair's frequency), ln_g (scale of the pair's queries and keys, both), ln_s (the factor,
// through the frequencies), ln_s_attention (through the frequencies and the attention factor).
// Columns: parameter, layer, band, pair, documents, tokens, derivative, derivative_low, derivative_high (of the mean
// over scored tokens), absolute, absolute_low, absolute_high (mean of the documents' |derivative|, weighted by tokens),
// pressure_rad (interpolation pressure at D = windows.length, mean over the pairs).  Low and high: 95 % interval over
// documents.  Where targets lie beyond the window, its last loss is left out.
// L layers, P = d/2 pairs.
#include <numeric>

#include "diagnostics/by_document.h"
#include "diagnostics/diagnostic.h"
#include "eval/gradient.h"
#include "rope/bands.h"
#include "rope/pressure.h"

namespace qroar {
namespace {

constexpr const char* kParameters[] = {"ln_omega", "ln_g", "ln_s", "ln_s_attention"};
constexpr int64_t kCount = std::size(kParameters);

/// The sums over the scored tokens of one document.
struct DocumentSlopes {
  int64_t tokens = 0;
  at::Tensor sum_NLP;  ///< derivatives by each parameter, float64 on the CPU
};

class Sensitivity : public Diagnostic {
 public:
  explicit Sensitivity(const Config& config)
      : windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})), bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {windows_, 8}; }

  CsvTable run(const DiagnosticInput& input) const override {
    std::map<int64_t, DocumentSlopes> documents;
    for (const Window& window : input.spread_windows(windows_)) {
      if (input.scored_inside(window) > 0) add_window(input, window, documents[input.cluster_of(window)]);
    }
    const int64_t length = input.geometry.target_length;
    const std::vector<double> pressure =
        interpolation_pressure(input.scheme, input.geometry, length, static_cast<double>(length));
    const auto pairs = static_cast<int64_t>(pressure.size());
    const std::vector<int64_t> edges = bands_.edges(pairs);

    CsvTable table{{"parameter", "layer", "band", "pair", "documents", "tokens", "derivative", "derivative_low",
                    "derivative_high", "absolute", "absolute_low", "absolute_high", "pressure_rad"},
                   {}};
    if (documents.empty()) return table;
    for (int64_t parameter = 0; parameter < kCount; ++parameter) {
      for (int64_t layer = -1; layer < std::ssize(input.model.layers); ++layer) {
        const auto add = [&](const std::string& band, const std::string& pair, int64_t begin, int64_t end) {
          const double mean_pressure = mean(pressure, begin, end);
          table.rows.push_back(joined({{kParameters[parameter], layer < 0 ? "" : std::to_string(layer), band, pair},
                                       fields(documents, parameter, layer, begin, end),
                                       {csv_number(mean_pressure)}}));
        };
        add("", "", 0, pairs);
        for (std::size_t band = 0; band + 1 < edges.size(); ++band) {
          add(std::to_string(band), "", edges[band], edges[band + 1]);
          for (int64_t i = edges[band]; i < edges[band + 1]; ++i) {
            add(std::to_string(band), std::to_string(i), i, i + 1);
          }
        }
      }
    }
    return table;
  }

 private:
  static void add_window(const DiagnosticInput& input, const Window& window, DocumentSlopes& own) {
    const at::Tensor tokens_T = input.tokens_T(window);
    const int64_t T = tokens_T.size(0), scored = std::min(input.scored_inside(window), T - 1);
    const ScaleGradient slope = scale_gradient(input.model, tokens_T, input.angles_of(T), scored);
    const TableSlope by_log_s = table_slope(input.scheme, input.geometry, T);
    const at::Tensor omega_P = at::tensor(input.scheme.table(input.geometry, T).inv_freq, at::kDouble),
                     omega_slope_P = at::tensor(by_log_s.inv_freq, at::kDouble);
    const at::Tensor by_g_LP = (slope.query_LKP + slope.key_LKP).squeeze(1),
                     by_s_LP = slope.frequency_LP * omega_slope_P;
    // The attention factor multiplies queries and keys of all pairs, as g does.
    const at::Tensor all_NLP =
        at::stack({slope.frequency_LP * omega_P, by_g_LP, by_s_LP, by_s_LP + by_g_LP * by_log_s.log_attention_factor}) *
        scored;
    own.tokens += scored;
    own.sum_NLP = own.sum_NLP.defined() ? own.sum_NLP + all_NLP : all_NLP;
  }

  /// Returns the fields documents to absolute_high of one layer (-1: all) and pairs [begin, end).
  static std::vector<std::string> fields(const std::map<int64_t, DocumentSlopes>& documents, int64_t parameter,
                                         int64_t layer, int64_t begin, int64_t end) {
    DocumentMean derivative, absolute;
    int64_t tokens = 0;
    for (const auto& [document, own] : documents) {
      const at::Tensor of_LP = own.sum_NLP[parameter].slice(1, begin, end);
      const double sum = (layer < 0 ? of_LP : of_LP[layer]).sum().item<double>();
      const auto weight = static_cast<double>(own.tokens);
      derivative.add(document, weight, sum);
      absolute.add(document, weight, std::abs(sum));
      tokens += own.tokens;
    }
    return joined({{std::to_string(derivative.estimate().clusters), std::to_string(tokens)},
                   interval_fields(derivative.estimate()),
                   rate_fields(absolute.estimate())});
  }

  static double mean(const std::vector<double>& values, int64_t begin, int64_t end) {
    return std::accumulate(values.begin() + begin, values.begin() + end, 0.0) / static_cast<double>(end - begin);
  }

  int64_t windows_;
  BandsOption bands_;
};

const Register<Diagnostic, Sensitivity> kSensitivity{
    "sensitivity",
    "derivatives of the loss by factor, scales of bands and frequencies, by autograd, beside the pressure",
    "{type: sensitivity, windows: 8, bands: 6}"};

}  // namespace
}  // namespace qroar
