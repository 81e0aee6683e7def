// Perplexity exp(mean NLL) and the mean NLL in nats per token.  The standard error assumes that the averaged units
// (tokens, windows or documents, as `windows.aggregate` specifies) are independent; that of the perplexity follows by
// the delta method: value * ln(base) * stderr(NLL).
#include <cmath>
#include <map>
#include <numbers>

#include "eval/metric.h"

namespace qroar {
namespace {

class Perplexity : public Metric {
 public:
  explicit Perplexity(const Config& config)
      : base_(config.get_choice<double>("base", std::numbers::e, {{"e", std::numbers::e}, {"2.71828", 2.71828}})) {}

  void add(const LogitBlock& block) override {
    for (int64_t row = 0; row < block.nll_R.numel(); ++row) window_.add(block.nll_R.const_data_ptr<double>()[row]);
  }
  Json end_window() override { return to_json(std::exchange(window_, {})); }
  void take(const Window& window, const Json& sums) override {
    const Moments nll = moments_of(sums);
    tokens_ += nll;
    windows_.add(nll.mean());
    documents_[window.document] += nll;
    by_cluster_.add(window, nll.count, nll.sum);
  }

  std::vector<MetricValue> values(Aggregate aggregate, const std::vector<Document>& documents) const override {
    Moments losses = aggregate == Aggregate::tokens ? tokens_ : windows_;
    if (aggregate == Aggregate::documents) {
      losses = {};
      for (const auto& [index, document] : documents_) losses.add(document.mean());
    }
    const double exact = std::exp(losses.mean());
    const double perplexity = base_ == std::numbers::e ? exact : std::pow(base_, losses.mean());
    const auto clusters = by_cluster_.all(documents, aggregate);
    return {{"perplexity", perplexity, perplexity * std::log(base_) * losses.standard_error(), losses.count, clusters,
             base_ == std::numbers::e ? "exp" : fmt::format("pow {}", base_)},
            {"nll", losses.mean(), losses.standard_error(), losses.count, clusters}};
  }

 private:
  double base_;
  Moments window_, tokens_, windows_;
  std::map<int64_t, Moments> documents_;
  WindowsByCluster by_cluster_;
};

const Register<Metric, Perplexity> kPerplexity{
    "perplexity", "exp of the mean negative log-likelihood, and that mean (nll)", "{type: perplexity, base: e}"};

}  // namespace
}  // namespace qroar
