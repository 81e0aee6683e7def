#include "quant/rules.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

namespace {

std::shared_ptr<const Quantizer> quantizer_at(const Config& parent, const char* key) {
  const Config config = parent.at(key, "{type: none}");
  std::shared_ptr<const Quantizer> quantizer = Registry<Quantizer>::instance().build(config);
  return config.get<std::string>("type") == "none" ? nullptr : quantizer;
}

bool is_calibrated(const std::shared_ptr<const Quantizer>& quantizer) {
  return std::dynamic_pointer_cast<const CalibratedQuantizer>(quantizer) != nullptr;
}

bool takes_one_range(const Quantizer& quantizer) {
  const at::Tensor one = at::ones({});
  return static_cast<bool>(quantizer.with_range(-one, one));
}

/// Reads the key `static` of an input.
bool read_static(const Config& rule, const Quantizer* input) {
  if (input == nullptr) return false;
  const Config config = rule.at("input");
  const bool is_static = config.get<bool>("static", false);
  if (is_static && !takes_one_range(*input)) {
    config.fail("static: true takes one range for the whole tensor; write rtn or fp8 with group: -1, or nvfp4");
  }
  return is_static;
}

}  // namespace

std::shared_ptr<const Quantizer> activation_quantizer(const Config& parent, const char* key) {
  auto quantizer = quantizer_at(parent, key);
  if (is_calibrated(quantizer)) parent.at(key).fail("is for weights; activations take a quantizer such as rtn or fp8");
  return quantizer;
}

void check_causal(const Config& place, const Quantizer& quantizer, const LinearSite& site, const std::string& or_else) {
  if (const auto coupling = quantizer.couples_rows(site)) {
    place.fail(fmt::format("lets a token of {} see later ones: {}{}", site.name, *coupling, or_else));
  }
}

QuantRules::QuantRules(const std::vector<Config>& rules) {
  for (const Config& rule : rules) {
    const auto match = rule.get<std::string>("match");
    try {
      glob_matches(match, "");
    } catch (const Error& error) {
      rule.at("match").fail(error.what());
    }
    auto weight = quantizer_at(rule, "weight"), input = activation_quantizer(rule, "input");
    const bool is_static = read_static(rule, input.get());
    rule.read_name();
    rules_.push_back({rule, match, std::move(weight), std::move(input), is_static});
  }
}

bool QuantRules::Rule::matches(const std::string& site) const {
  return site == "lm_head" ? match == site : glob_matches(match, site);
}

void QuantRules::check_against(const std::vector<LinearSite>& sites) const {
  for (const Rule& rule : rules_) {
    if (std::none_of(sites.begin(), sites.end(), [&](const LinearSite& site) { return rule.matches(site.name); })) {
      rule.config.at("match").fail(
          fmt::format("'{}' matches no layer; names look like {} (lm_head only when named literally)", rule.match,
                      sites.front().name));
    }
    if (std::ranges::none_of(sites, [&](const LinearSite& site) { return last_match(site.name) == &rule; })) {
      rule.config.at("match").fail(
          fmt::format("'{}' decides no layer: later rules match all of its layers, and the last one decides; join them "
                      "to one rule, or write this one behind them",
                      rule.match));
    }
  }
  for (const LinearSite& site : sites) {
    const auto weight = weight_quantizer(site.name);
    if (weight != nullptr) weight->check_site(site);
    if (site.name == "lm_head" && (is_calibrated(weight) || is_static(site.name))) {
      last_match(site.name)->config.at("match").fail(
          "lm_head is not part of a decoder layer and is not calibrated; give it a quantizer that needs none");
    }
    const auto input = input_quantizer(site.name);
    if (input == nullptr) continue;
    input->check_site(site);
    if (is_static(site.name)) continue;
    const bool may_be_static = site.name != "lm_head" && takes_one_range(*input);
    check_causal(last_match(site.name)->config.at("input"), *input, site,
                 may_be_static ? ", or static: true (one range, which calibration texts give)" : "");
  }
}

const QuantRules::Rule* QuantRules::last_match(const std::string& site) const {
  const auto last = std::find_if(rules_.rbegin(), rules_.rend(), [&](const Rule& rule) { return rule.matches(site); });
  return last == rules_.rend() ? nullptr : &*last;
}

std::shared_ptr<const Quantizer> QuantRules::weight_quantizer(const std::string& site) const {
  const Rule* rule = last_match(site);
  return rule == nullptr ? nullptr : rule->weight;
}

std::shared_ptr<const Quantizer> QuantRules::input_quantizer(const std::string& site) const {
  const Rule* rule = last_match(site);
  return rule == nullptr ? nullptr : rule->input;
}

double QuantRules::bits_per_weight(const std::vector<LinearSite>& sites, double stored) const {
  double bits = 0, weights = 0;
  for (const LinearSite& site : sites) {
    if (site.name == "lm_head") continue;
    const auto quantizer = weight_quantizer(site.name);
    const auto own = static_cast<double>(site.rows * site.columns);
    bits += own * (quantizer == nullptr ? stored : quantizer->bits_per_weight(site));
    weights += own;
  }
  return bits / weights;
}

std::vector<std::shared_ptr<const CalibratedQuantizer>> QuantRules::calibrated(const DecoderLayer& layer) const {
  std::vector<std::shared_ptr<const CalibratedQuantizer>> quantizers;
  for (const auto linear : kLayerLinears) {
    auto quantizer = std::dynamic_pointer_cast<const CalibratedQuantizer>(weight_quantizer((layer.*linear).site));
    if (quantizer != nullptr && std::ranges::find(quantizers, quantizer) == quantizers.end()) {
      quantizers.push_back(std::move(quantizer));
    }
  }
  return quantizers;
}

bool QuantRules::need_texts() const {
  return std::ranges::any_of(rules_,
                             [](const Rule& rule) { return rule.input_is_static || is_calibrated(rule.weight); });
}

bool QuantRules::is_static(const std::string& site) const {
  const Rule* rule = last_match(site);
  return rule != nullptr && rule->input_is_static;
}

TakesSite QuantRules::sites_of(const Quantizer& quantizer) const {
  return [this, &quantizer](const std::string& site) { return weight_quantizer(site).get() == &quantizer; };
}

}  // namespace qroar
