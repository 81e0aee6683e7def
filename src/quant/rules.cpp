#include "quant/rules.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

QuantRules::QuantRules(const Config& list) {
  for (const Config& rule : list.items()) {
    const auto match = rule.get<std::string>("match");
    auto weight = Registry<Quantizer>::instance().build(rule.at("weight"));
    rule.section("input").get_choice<int>("type", 0, {{"none", 0}});
    try {
      glob_matches(match, "");
    } catch (const Error& error) {
      rule.at("match").fail(error.what());
    }
    rules_.push_back({rule.at("match"), match, std::move(weight)});
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
    if (const Quantizer* quantizer = weight_quantizer(site.name)) quantizer->check_site(site);
  }
}

const Quantizer* QuantRules::weight_quantizer(const std::string& site) const {
  const auto last = std::find_if(rules_.rbegin(), rules_.rend(), [&](const Rule& rule) { return rule.matches(site); });
  return last == rules_.rend() ? nullptr : last->weight.get();
}

}  // namespace qroar
