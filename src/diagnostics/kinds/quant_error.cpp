// The effect of rounding on each linear layer alone: on its weight, and on its output for the inputs that it gets in
// the full-precision model (so it includes input quantization but no errors of earlier layers).  Sums:
// quant/distortion.h. A decoder layer has a row, too: the error of what it adds to the full-precision residual stream.
// Columns: layer (empty for lm_head), site, band (empty: all output rows; else, for q_proj and k_proj, the RoPE pairs
// of rope/bands.h, both rows of a pair, over all heads), snr_db, max_error, clipped and zeroed (fractions) of the
// weight, bits_per_weight (of the whole layer), output_snr_db, output_relative_error (||y - y'||^2 / ||y||^2).
// T tokens, R rows of a block, I inputs and O outputs of a layer, P pairs.
#include "diagnostics/diagnostic.h"
#include "quant/distortion.h"
#include "rope/bands.h"

namespace qroar {
namespace {

/// Number of tokens whose outputs are held at a time.
constexpr int64_t kOutputRows = 256;

/// One linear layer in full precision and as evaluated, with the errors of its outputs.
struct Comparison {
  Linear full, evaluated;
  OutputErrors outputs;

  Comparison(const Linear& full_linear, const Linear& evaluated_linear)
      : full(full_linear), evaluated(evaluated_linear), outputs(full.weight_OI.size(0), full.weight_OI.device()) {}

  bool untouched() const { return full.weight_OI.is_same(evaluated.weight_OI) && !evaluated.transforms_input(); }
  bool has_bands() const { return full.site.ends_with(".q_proj") || full.site.ends_with(".k_proj"); }

  /// Adds the errors for x_TI, the input before Linear::input.  Products are in float32 (float64 for a float64 model):
  /// rounding outputs to bfloat16 would count as an error of the quantizer.
  void add(const at::Tensor& x_TI) {
    if (untouched()) return;
    const auto wide = ops::wide_dtype(x_TI);
    const auto widened = [&](const at::Tensor& x) { return x.defined() ? x.to(wide) : x; };
    const at::Tensor seen_TI = full.input(x_TI), evaluated_TI = evaluated.input(x_TI);
    const at::Tensor weight_OI = widened(full.weight_OI), rounded_OI = widened(evaluated.weight_OI);
    const at::Tensor bias_O = widened(full.bias_O), evaluated_bias_O = widened(evaluated.bias_O);
    for (int64_t begin = 0; begin < x_TI.size(0); begin += kOutputRows) {
      const auto block = [&](const at::Tensor& x) { return x.slice(0, begin, begin + kOutputRows).to(wide); };
      outputs.add(at::linear(block(seen_TI), weight_OI, bias_O),
                  at::linear(block(evaluated_TI), rounded_OI, evaluated_bias_O));
    }
  }
};

std::vector<Linear> linears_of(Llama model) {
  std::vector<Linear> linears;
  model.each_linear([&](const Linear& linear) { linears.push_back(linear); });
  return linears;
}

class QuantError : public Diagnostic {
 public:
  explicit QuantError(const Config& config)
      : windows_(config.get<int64_t>("windows", 1, {1, 1'000'000})), bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {windows_, 5}; }

  CsvTable run(const DiagnosticInput& input) const override {
    std::vector<Comparison> layers = comparisons(input);
    std::vector<OutputErrors> sublayers;
    for (const DecoderLayer& layer : input.full.layers) {
      sublayers.emplace_back(input.full.config.hidden_size, layer.input_norm_D.device());
    }
    feed(input, layers, sublayers);
    CsvTable table{{"layer", "site", "band", "snr_db", "max_error", "clipped", "zeroed", "bits_per_weight",
                    "output_snr_db", "output_relative_error"},
                   {}};
    for (const Comparison& layer : layers) add_rows(input, layer, table);
    for (std::size_t i = 0; i < sublayers.size(); ++i) {
      const double signal = sublayers[i].signal_O().sum().item<double>(),
                   error = sublayers[i].error_O().sum().item<double>();
      table.rows.push_back({std::to_string(i), input.full.layers[i].site, "", "", "", "", "", "",
                            csv_number(snr_db(signal, error)), csv_number(relative_error(signal, error))});
    }
    return table;
  }

 private:
  static std::vector<Comparison> comparisons(const DiagnosticInput& input) {
    for (std::size_t i = 0; i < input.full.layers.size(); ++i) {
      const DecoderLayer &full = input.full.layers[i], &evaluated = input.model.layers[i];
      check(at::equal(full.input_norm_D, evaluated.input_norm_D) &&
                at::equal(full.post_attention_norm_D, evaluated.post_attention_norm_D),
            "the two models have the same coordinates");
    }
    std::vector<Comparison> layers;
    const std::vector<Linear> full = linears_of(input.full), evaluated = linears_of(input.model);
    for (std::size_t i = 0; i < full.size(); ++i) layers.emplace_back(full[i], evaluated[i]);
    return layers;
  }

  /// Runs the first windows through the full-precision model and compares each layer on its input.
  void feed(const DiagnosticInput& input, std::vector<Comparison>& layers, std::vector<OutputErrors>& sublayers) const {
    Llama probed = input.full;
    std::size_t next = 0;
    probed.each_linear([&](Linear& linear) {
      Comparison& layer = layers[next++];
      linear.input = {[&layer](const at::Tensor& x_TI) {
        layer.add(x_TI);
        return layer.full.input(x_TI);
      }};
    });
    for (const Window& window : input.first_windows(windows_)) {
      const at::Tensor tokens_T = input.tokens_T(window);
      const ops::RopeAngles angles = input.angles_of(tokens_T.size(0));
      at::Tensor x_TD = embed(probed, tokens_T);
      for (std::size_t k = 0; k < sublayers.size(); ++k) {
        const at::Tensor before_TD = x_TD.to(ops::wide_dtype(x_TD), /*non_blocking=*/false, /*copy=*/true);
        at::Tensor evaluated_TD = x_TD.clone();
        decoder_layer(input.model.layers[k], probed.config, evaluated_TD, angles);
        decoder_layer(probed.layers[k], probed.config, x_TD, angles);
        sublayers[k].add(x_TD - before_TD, evaluated_TD - before_TD);
      }
      layers.back().add(ops::rms_norm(x_TD, probed.norm_D, probed.config.rms_norm_eps));  // lm_head, without [T, V]
    }
  }

  void add_rows(const DiagnosticInput& input, const Comparison& layer, CsvTable& table) const {
    const at::Tensor& weight_OI = layer.full.weight_OI;
    const WeightErrors weights = weight_errors(weight_OI, layer.evaluated.weight_OI);
    const at::Tensor signal_O = layer.outputs.signal_O().to(at::kCPU), error_O = layer.outputs.error_O().to(at::kCPU);
    const auto quantizer = input.quant.rules.weight_quantizer(layer.full.site);
    const double bits = quantizer != nullptr
                            ? quantizer->bits_per_weight({layer.full.site, weight_OI.size(0), weight_OI.size(1)})
                            : 8.0 * static_cast<double>(weight_OI.element_size());
    const auto add = [&](const std::string& band, const auto& rows_of) {
      const auto sum = [&](const at::Tensor& x_O) { return rows_of(x_O).sum().template item<double>(); };
      const auto count = static_cast<double>(rows_of(weights.signal_O).numel() * weights.columns);
      table.rows.push_back({layer_number(layer.full.site), layer.full.site, band,
                            csv_number(snr_db(sum(weights.signal_O), sum(weights.error_O))),
                            csv_number(rows_of(weights.max_error_O).max().template item<double>()),
                            csv_number(sum(weights.clipped_O) / count), csv_number(sum(weights.zeroed_O) / count),
                            csv_number(bits), csv_number(snr_db(sum(signal_O), sum(error_O))),
                            csv_number(relative_error(sum(signal_O), sum(error_O)))});
    };
    add("", [](const at::Tensor& x_O) { return x_O; });
    if (!layer.has_bands()) return;
    const int64_t pairs = input.full.config.pairs(), d = input.full.config.head_dim;
    const std::vector<int64_t> edges = bands_.edges(pairs);
    for (std::size_t band = 0; band + 1 < edges.size(); ++band) {
      add(std::to_string(band), [&](const at::Tensor& x_O) {
        // A head's rows: i, then i + pairs, then those that RoPE leaves alone.
        return x_O.view({-1, d}).slice(1, 0, 2 * pairs).unflatten(1, {2, pairs}).slice(2, edges[band], edges[band + 1]);
      });
    }
  }

  static std::string layer_number(const std::string& site) {
    const std::string prefix = "layers.";
    return site.starts_with(prefix) ? site.substr(prefix.size(), site.find('.', prefix.size()) - prefix.size()) : "";
  }

  int64_t windows_;
  BandsOption bands_;
};

const Register<Diagnostic, QuantError> kQuantError{
    "quant_error",
    "what rounding does to each linear layer alone: SNR of weight and output, for q and k per RoPE band, too",
    "{type: quant_error, windows: 1, bands: 6}"};

}  // namespace
}  // namespace qroar
