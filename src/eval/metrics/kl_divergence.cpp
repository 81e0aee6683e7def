// How far the model's next-token distributions are from the reference's: those of the same model in full precision,
// under the same scheme and scales, or of the checkpoint that the block `reference` names.  As llama.cpp's
// --kl-divergence, it reports the mean KL(full || model) in nats, how often both have the same most likely token, and
// the change of the target's probability (delta_p = p - p_full: mean, root mean square, percentiles).  The reference
// runs alongside the model: every window costs two forwards.  R rows, V vocabulary.
#include <algorithm>
#include <cmath>

#include "eval/metric.h"

namespace qroar {
namespace {

class KlDivergence : public Metric {
 public:
  explicit KlDivergence(const Config&) {}

  bool needs_reference() const override { return true; }

  void add(const LogitBlock& block) override {
    const at::Tensor model_RV = block.logits_RV.to(at::kFloat).log_softmax(-1),
                     full_RV = block.reference_RV.to(at::kFloat).log_softmax(-1);
    const at::Tensor divergence_R = (full_RV.exp() * (full_RV - model_RV)).sum(-1, /*keepdim=*/false, at::kDouble);
    const at::Tensor same_R = model_RV.argmax(-1) == full_RV.argmax(-1);
    const auto of_target = [&](const at::Tensor& log_p_RV) {
      return log_p_RV.gather(1, block.targets_R.unsqueeze(1)).squeeze(1).to(at::kDouble).exp();
    };
    append(divergence_R, divergence_);
    append(same_R.to(at::kDouble), same_);
    append(of_target(model_RV) - of_target(full_RV), delta_p_);
  }

  Json end_window() override {
    Moments divergence;
    int64_t same = 0;
    for (const double x : divergence_) divergence.add(x);
    for (const double x : same_) same += x != 0;
    Json sums{{"divergence", to_json(divergence)}, {"same", same}, {"delta_p", delta_p_}};
    divergence_.clear();
    same_.clear();
    delta_p_.clear();
    return sums;
  }

  void take(const Window& window, const Json& sums) override {
    const Moments divergence = moments_of(sums["divergence"]);
    const auto same = sums["same"].get<int64_t>();
    Moments change, square;
    for (const double x : sums["delta_p"]) {
      change.add(x);
      square.add(x * x);
      all_delta_p_.push_back(x);
    }
    all_divergence_ += divergence;
    all_same_ += same;
    const int64_t tokens = divergence.count;
    divergence_by_cluster_.add(window, tokens, divergence.sum);
    same_by_cluster_.add(window, tokens, static_cast<double>(same));
    change_by_cluster_.add(window, tokens, change.sum);
    square_by_cluster_.add(window, tokens, square.sum);
  }

  std::vector<MetricValue> values(Aggregate, const std::vector<Document>& documents) const override {
    const int64_t count = all_divergence_.count;
    const double n = static_cast<double>(count), agreement = static_cast<double>(all_same_) / n;
    Moments change, square;
    for (const double x : all_delta_p_) {
      change.add(x);
      square.add(x * x);
    }
    const double root = std::sqrt(square.mean());
    std::vector<MetricValue> values{
        {"kl_divergence", all_divergence_.mean(), all_divergence_.standard_error(), count,
         divergence_by_cluster_.all(documents)},
        {"top1_agreement", agreement, std::sqrt(agreement * (1 - agreement) / (n - 1)), count,
         same_by_cluster_.all(documents)},
        {"delta_p", change.mean(), change.standard_error(), count, change_by_cluster_.all(documents)},
        {"delta_p_rms", root, root > 0 ? square.standard_error() / (2 * root) : 0, count,
         square_by_cluster_.all(documents), "sqrt"}};
    std::vector<double> sorted = all_delta_p_;
    std::ranges::sort(sorted);
    for (const int percent : {1, 5, 50, 95, 99}) {
      values.push_back({"delta_p_" + std::to_string(percent), quantile(sorted, percent / 100.0),
                        std::numeric_limits<double>::quiet_NaN(), count});
    }
    return values;
  }

 private:
  static void append(const at::Tensor& x_R, std::vector<double>& to) {
    const at::Tensor values = x_R.to(at::kCPU).contiguous();
    to.insert(to.end(), values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
  }

  /// Interpolates linearly between neighbours, as NumPy does by default.
  static double quantile(const std::vector<double>& sorted, double p) {
    const double place = p * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
  }

  std::vector<double> divergence_, same_, delta_p_;  ///< of the window that is being scored
  Moments all_divergence_;
  int64_t all_same_ = 0;
  std::vector<double> all_delta_p_;
  WindowsByCluster divergence_by_cluster_, same_by_cluster_, change_by_cluster_, square_by_cluster_;
};

const Register<Metric, KlDivergence> kKlDivergence{
    "kl_divergence",
    "KL divergence from the model in full precision (or `reference`), top-1 agreement, changes of p(target)",
    "{type: kl_divergence}"};

}  // namespace
}  // namespace qroar
