// The YAML list `quant`: which quantizer applies to which linear layer.
#pragma once
#include <memory>
#include <vector>

#include "config/config.h"
#include "quant/calibrated.h"

namespace qroar {

/// Returns the quantizer of activations that parent.key describes; null for {type: none} and for an absent key.  Throws
/// an Error for a calibrated quantizer, which supports only weights.
std::shared_ptr<const Quantizer> activation_quantizer(const Config& parent, const char* key);

/// Throws an Error at `place` for a quantizer of activations under which a token of the layer would see later ones;
/// `or_else` follows the suggested remedy in the message.
void check_causal(const Config& place, const Quantizer& quantizer, const LinearSite& site,
                  const std::string& or_else = "");

/// Rules {match: glob, weight: {type: ...}, input: {type: ...}} in order; the last rule that matches a layer applies.
/// `input` fake-quantizes the activations that go into the layer; its rows are tokens (`group: 0` is one scale per
/// token); `static: true` in it uses one range, recorded during calibration, instead of each tensor's own. lm_head is
/// quantized only where a rule names it literally, since no published protocol quantizes it.
class QuantRules {
 public:
  QuantRules() = default;
  explicit QuantRules(const std::vector<Config>& rules);

  /// Throws an Error for a rule that matches no layer of the model, for a layer whose shape its quantizer does not
  /// support, and for an input whose tokens its quantizer couples.
  void check_against(const std::vector<LinearSite>& sites) const;

  /// Returns the quantizer of a layer's weight and of its input, or null where no rule matches or the rule is `none`.
  std::shared_ptr<const Quantizer> weight_quantizer(const std::string& site) const;
  std::shared_ptr<const Quantizer> input_quantizer(const std::string& site) const;

  /// Returns the stored bits of a weight, scales included, as the mean over all weights of the decoder layers' linear
  /// layers; `stored` where nothing quantizes them.  Embeddings, norms and lm_head are not counted.
  double bits_per_weight(const std::vector<LinearSite>& sites, double stored) const;

  /// Returns the calibrated quantizers among those of a layer's weights, without duplicates.
  std::vector<std::shared_ptr<const CalibratedQuantizer>> calibrated(const DecoderLayer& layer) const;
  bool need_texts() const;
  /// Returns whether the layer's input is quantized with a range from calibration.
  bool is_static(const std::string& site) const;
  /// Returns a predicate that selects the layers to which a quantizer of these rules applies.
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
