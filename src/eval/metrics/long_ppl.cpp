// LongPPL (Fang et al. arXiv 2410.23771): perplexity over only the key tokens, which a long context helps to predict. A
// token is key when, in the reference, its NLL rises by more than `alpha` if only the nearest `short` tokens (up to
// short + step) are visible, and its NLL in the long context is below -`beta`.  The first `short` tokens are never key
// tokens.  The paper finds key tokens with a large model, which the block `reference` can name; by default the
// reference is the evaluated model in full precision, so that all quantizers of a sweep are judged by the same tokens.
// Cost: a forward of the reference over every window, and one over short + step tokens for every `step` tokens.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/metric.h"
#include "eval/token_losses.h"

namespace qroar {
namespace {

class LongPpl : public Metric {
 public:
  explicit LongPpl(const Config& config)
      : config_(config),
        short_(config.get<int64_t>("short", 4096, {1, int64_t{1} << 31})),
        step_(config.get<int64_t>("step", 1024, {1, int64_t{1} << 31})),
        alpha_(config.get<double>("alpha", 2)),
        beta_(config.get<double>("beta", -2)) {}

  void bind(const WindowRule& windows, const DataSpec&) override {
    feed_ = windows.feed;
    if (feed_.beyond) {
      config_.fail(
          "compares losses of tokens that the model sees, and with targets: beyond the last one is not; say "
          "windows.targets: inside");
    }
    if (short_ >= windows.length) {
      config_.fail(fmt::format("a short context of {} tokens is no shorter than windows of {}; set short: {} or less",
                               short_, windows.length, windows.length / 2));
    }
  }
  void check(const std::vector<Document>&, const std::vector<Window>& windows) const override {
    const int64_t longest = longest_seen(windows, feed_);
    if (longest > short_) return;
    config_.fail(
        fmt::format("no token can be key: the longest window has {} tokens, no more than a short context of {}; set a "
                    "smaller `short`, or take longer documents",
                    longest, short_));
  }
  bool needs_reference() const override { return true; }

  void begin_window(const ScoredWindow& window) override {
    const int64_t T = window.tokens_T.size(0);
    short_nll_.assign(static_cast<std::size_t>(T + 1), std::numeric_limits<double>::quiet_NaN());
    for (int64_t begin = 0; begin + short_ < T; begin += step_) {
      const at::Tensor part_T = window.tokens_T.slice(0, begin, std::min(begin + short_ + step_, T));
      const std::vector<double> losses =
          token_losses(window.reference->model, part_T, window.reference->angles_of(part_T.size(0)), short_ - 1);
      if (!std::ranges::all_of(losses, [](double loss) { return std::isfinite(loss); }))
        fail("the reference has losses that are not finite in a context of {} tokens; check its weights",
             part_T.size(0));
      std::ranges::copy(losses, short_nll_.begin() + begin + short_);
    }
  }

  void add(const LogitBlock& block) override {
    for (int64_t row = 0; row < block.reference_nll_R.numel(); ++row) {
      const double full = block.reference_nll_R.const_data_ptr<double>()[row];
      const double gain = short_nll_[static_cast<std::size_t>(block.first + row + 1)] - full;
      ++window_tokens_;
      if (gain > alpha_ && full < -beta_) window_.add(block.nll_R.const_data_ptr<double>()[row]);
    }
  }
  Json end_window() override {
    return {{"key", to_json(std::exchange(window_, {}))}, {"tokens", std::exchange(window_tokens_, 0)}};
  }
  void take(const Window& window, const Json& sums) override {
    const Moments key = moments_of(sums["key"]);
    const auto tokens = sums["tokens"].get<int64_t>();
    key_ += key;
    tokens_ += tokens;
    key_by_cluster_.add(window, key.count, key.sum);
    share_by_cluster_.add(window, tokens, static_cast<double>(key.count));
  }

  std::vector<MetricValue> values(Aggregate, const std::vector<Document>& documents) const override {
    const double share = static_cast<double>(key_.count) / static_cast<double>(tokens_);
    const MetricValue tokens{"key_tokens", share, std::sqrt(share * (1 - share) / static_cast<double>(tokens_)),
                             tokens_, share_by_cluster_.all(documents)};
    if (key_.count == 0) return {tokens};
    const double perplexity = std::exp(key_.mean());
    return {
        {"long_ppl", perplexity, perplexity * key_.standard_error(), key_.count, key_by_cluster_.all(documents), "exp"},
        tokens};
  }

 private:
  Config config_;
  int64_t short_, step_;
  double alpha_, beta_;
  Feed feed_;
  std::vector<double> short_nll_;  ///< by position in the window; NaN where the context is short anyway
  Moments window_, key_;
  int64_t window_tokens_ = 0, tokens_ = 0;
  WindowsByCluster key_by_cluster_, share_by_cluster_;
};

const Register<Metric, LongPpl> kLongPpl{"long_ppl",
                                         "LongPPL: perplexity of the tokens that a long context helps to predict",
                                         "{type: long_ppl, short: 4096, step: 1024, alpha: 2, beta: -2}"};

}  // namespace
}  // namespace qroar
