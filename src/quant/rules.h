// The YAML list `quant`: which quantizer takes which linear layer.
#pragma once
#include <memory>
#include <vector>

#include "config/config.h"
#include "quant/calibrated.h"

namespace qroar {

/// The quantizer of activations that parent.key describes; null for {type: none} and for an absent key.  An Error for
/// one that is calibrated, which is for weights.
std::shared_ptr<const Quantizer> activation_quantizer(const Config& parent, const char* key);

/// An Error at `place` for a quantizer of activations under which a token of the site would see later ones; `or_else`
/// follows the remedy.
void check_causal(const Config& place, const Quantizer& quantizer, const LinearSite& site,
                  const std::string& or_else = "");

/// Rules {match: glob, weight: {type: ...}, input: {type: ...}} in order; the last one that matches a layer decides.
/// `input` fake-quantizes the activations that go into the layer; its rows are tokens (`group: 0` is one scale a
/// token); `static: true` in it takes one range, seen while calibration texts pass, instead of each tensor's own.
/// lm_head is quantized only where a rule names it literally, since no published protocol quantizes it.
class QuantRules {
 public:
  QuantRules() = default;
  explicit QuantRules(const std::vector<Config>& rules);

  /// Throws an Error for a rule that matches no layer of the model, for a layer whose shape its quantizer cannot take,
  /// and for an input whose tokens its quantizer couples.
  void check_against(const std::vector<LinearSite>& sites) const;

  /// The quantizer of a layer's weight and of its input, or null where no rule matches or the rule says none.
  std::shared_ptr<const Quantizer> weight_quantizer(const std::string& site) const;
  std::shared_ptr<const Quantizer> input_quantizer(const std::string& site) const;

  /// The calibrated ones among the quantizers of a layer's weights, each once.
  std::vector<std::shared_ptr<const CalibratedQuantizer>> calibrated(const DecoderLayer& layer) const;
  bool need_texts() const;
  /// Is the layer's input quantized on a range that calibration sees?
  bool is_static(const std::string& site) const;
  /// Where a quantizer of these rules decides.
  TakesSite sites_of(const Quantizer& quantizer) const;

 private:
  struct Rule {
    Config config;
    std::string match;
    std::shared_ptr<const Quantizer> weight, input;
    bool input_is_static = false;
    bool matches(const std::string& site) const;
  };
  const Rule* last_match(const std::string& site) const;

  std::vector<Rule> rules_;
};

}  // namespace qroar
