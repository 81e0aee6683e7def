// Perplexity exp(mean NLL) and the mean NLL in nats per token.  The standard error takes the averaged units (tokens,
// windows or documents, whichever `windows.aggregate` says) as independent; that of the perplexity follows by the delta
// method: value * stderr(NLL).
#include <cmath>
#include <map>

#include "base/statistics.h"
#include "eval/metric.h"

namespace qroar {
namespace {

class Perplexity : public Metric {
 public:
  explicit Perplexity(const Config&) {}

  void add(const LogitBlock& block) override {
    const double* nll = block.nll_R.const_data_ptr<double>();
    for (int64_t row = 0; row < block.nll_R.numel(); ++row) {
      tokens_.add(nll[row]);
      windows_[block.window_index].add(nll[row]);
      documents_[block.window.document].add(nll[row]);
    }
  }

  std::vector<MetricValue> values(Aggregate aggregate) const override {
    const Moments losses = aggregate == Aggregate::tokens    ? tokens_
                           : aggregate == Aggregate::windows ? means_of(windows_)
                                                             : means_of(documents_);
    const double perplexity = std::exp(losses.mean());
    return {{"perplexity", perplexity, perplexity * losses.standard_error(), losses.count},
            {"nll", losses.mean(), losses.standard_error(), losses.count}};
  }

 private:
  static Moments means_of(const std::map<int64_t, Moments>& parts) {
    Moments means;
    for (const auto& [index, part] : parts) means.add(part.mean());
    return means;
  }

  Moments tokens_;
  std::map<int64_t, Moments> windows_, documents_;
};

const Register<Metric, Perplexity> kPerplexity{
    "perplexity", "exp of the mean negative log-likelihood, and that mean (nll)", "{type: perplexity}"};

}  // namespace
}  // namespace qroar
