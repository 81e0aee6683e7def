#include "quant/rules.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

namespace {

/// Null for {type: none} and for an absent key.
std::shared_ptr<const Quantizer> quantizer_at(const Config& rule, const char* key) {
  const Config config = rule.at(key, "{type: none}");
  std::shared_ptr<const Quantizer> quantizer = Registry<Quantizer>::instance().build(config);
  return config.get<std::string>("type") == "none" ? nullptr : quantizer;
}

}  // namespace

QuantRules::QuantRules(const std::vector<Config>& rules) {
  for (const Config& rule : rules) {
    const auto match = rule.get<std::string>("match");
    try {
      glob_matches(match, "");
    } catch (const Error& error) {
      rule.at("match").fail(error.what());
    }
    rules_.push_back({rule.at("match"), match, quantizer_at(rule, "weight"), quantizer_at(rule, "input")});
  }
}

bool QuantRules::Rule::matches(const std::string& site) const {
  return site == "lm_head" ? match == site : glob_matches(match, site);
}

void QuantRules::check_against(const std::vector<LinearSite>& sites) const {
  for (const Rule& rule : rules_) {
    if (std::none_of(sites.begin(), sites.end(), [&](const LinearSite& site) { return rule.matches(site.name); })) {
      rule.config.fail(fmt::format("'{}' matches no layer; names look like {} (lm_head only when named literally)",
                                   rule.match, sites.front().name));
    }
  }
  for (const LinearSite& site : sites) {
    const auto weight = weight_quantizer(site.name);
    if (weight != nullptr) weight->check_site(site);
    if (site.name == "lm_head" && std::dynamic_pointer_cast<const CalibratedQuantizer>(weight) != nullptr) {
      last_match(site.name)->config.fail("lm_head is no part of a decoder layer, where calibration looks; give it rtn");
    }
    if (const auto input = input_quantizer(site.name)) input->check_site(site);
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

bool QuantRules::any_calibrated() const {
  return std::ranges::any_of(rules_, [](const Rule& rule) {
    return std::dynamic_pointer_cast<const CalibratedQuantizer>(rule.weight) != nullptr;
  });
}

TakesSite QuantRules::sites_of(const Quantizer& quantizer) const {
  return [this, &quantizer](const std::string& site) { return weight_quantizer(site).get() == &quantizer; };
}

}  // namespace qroar
