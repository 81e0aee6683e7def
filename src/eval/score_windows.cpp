// Dimensions: T tokens of a window, D hidden size, R rows of a block, V vocabulary.
#include "eval/score_windows.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "eval/token_losses.h"

namespace qroar {
namespace {

/// Remembers the first site, in forward order, with a value that is not finite.
class FirstNonFinite : public Observer {
 public:
  void on(std::string_view site, const at::Tensor& value) override {
    if (!site_ && !value.isfinite().all().item<bool>()) site_ = site;
  }
  std::optional<std::string> site() const { return site_; }

 private:
  std::optional<std::string> site_;
};

/// Throws the Error for a loss that is not finite.  `whose` loss: "the" or "the reference's".
[[noreturn]] void fail_non_finite(const std::string& whose, const Llama& model, const at::Tensor& tokens_T,
                                  const ops::RopeAngles& angles, const Document& document, int64_t position,
                                  double loss) {
  FirstNonFinite first;
  const at::Tensor hidden_TD = forward(model, tokens_T, angles, &first);
  for (int64_t begin = 0; begin < hidden_TD.size(0); begin += kLogitRows) {
    logits(model, hidden_TD.slice(0, begin, begin + kLogitRows), &first);
  }
  fail(
      "document '{}': {} loss at token {} is {}; the first values that are not finite come out of {} (dtype {}); "
      "check the weights, or try dtype: float32",
      document.id, whose, position, loss,
      first.site().value_or("no site: a logit difference or the square of the loss overflowed"),
      at::toString(model.embed_tokens_VD.scalar_type()));
}

bool is_finite(const Json& json) {
  if (json.is_structured()) return std::all_of(json.begin(), json.end(), is_finite);
  return !json.is_number() || std::isfinite(json.get<double>());
}

/// One window while its blocks are scored.
class WindowScore {
 public:
  WindowScore(const ScoredPrefix& prefix, const at::Tensor& pass_T) : prefix_(prefix) {
    const EvaluationInput& input = prefix.input;
    tokens_T_ = pass_T.slice(0, 0, tokens_seen(prefix.window, input.feed));
    targets_T_ = tokens_T_.slice(0, 1);  // row t predicts token t + 1
    if (input.feed.beyond) {
      const int64_t beyond = document().tokens[static_cast<std::size_t>(prefix.window.end - 1)];
      targets_T_ = at::cat({targets_T_, at::full({1}, beyond, targets_T_.options())});
    }
    begin_ = targets_T_.size(0) - prefix.window.scored;
    check(begin_ >= 0, "a window scores no more tokens than it has targets");
    for (const auto& metric : prefix.metrics) metric->begin_window({prefix.window, tokens_T_, input.reference});
  }

  bool ended() const { return begin_ >= targets_T_.size(0); }
  /// Returns the rows [begin, end) of the next block.
  std::pair<int64_t, int64_t> block() const { return {begin_, std::min(begin_ + kLogitRows, targets_T_.size(0))}; }
  at::Tensor targets_R() const { return targets_T_.slice(0, block().first, block().second); }

  /// Returns -ln p of the next block's targets, float64 on the CPU.
  at::Tensor losses_R(const at::Tensor& logits_RV, const char* whose, const Llama& model,
                      const AnglesOf& angles_of) const {
    const at::Tensor nll_R = ops::token_nll(logits_RV, targets_R()).to(at::kCPU);
    for (int64_t row = 0; row < nll_R.size(0); ++row) {
      const double loss = nll_R.const_data_ptr<double>()[row];
      if (std::isfinite(loss * loss)) continue;  // the square is summed, too
      const int64_t position = prefix_.window.begin + begin_ + row + 1 - prefix_.input.feed.added();
      fail_non_finite(whose, model, tokens_T_, angles_of(tokens_T_.size(0)), document(), position, loss);
    }
    return nll_R;
  }

  void add(const LogitBlock& block) {
    for (int64_t row = 0; row < block.nll_R.size(0); ++row) nll_.add(block.nll_R.const_data_ptr<double>()[row]);
    for (const auto& metric : prefix_.metrics) metric->add(block);
    begin_ += block.nll_R.size(0);
  }

  Json sums() {
    Json sums{{"nll", to_json(nll_)}, {"metrics", Json::array()}};
    for (const auto& metric : prefix_.metrics) sums["metrics"].push_back(metric->end_window());
    if (is_finite(sums["metrics"])) return sums;
    fail(
        "document '{}': the window at token {} gives a metric sums that are not finite: logits overflow; check the "
        "weights, or try dtype: float32",
        document().id, prefix_.window.begin);
  }

 private:
  const Document& document() const { return prefix_.input.document_of(prefix_.window); }

  const ScoredPrefix& prefix_;
  at::Tensor tokens_T_, targets_T_;
  int64_t begin_;  ///< of the next block
  Moments nll_;
};

}  // namespace

at::Tensor window_tokens(const Document& document, const Window& window, const Feed& feed, const Llama& model) {
  std::vector<int64_t> tokens;
  tokens.reserve(static_cast<std::size_t>(window.end - window.begin + feed.added()));
  if (feed.bos == Bos::every) tokens.push_back(model.config.bos_token_id.value());
  const auto end = document.tokens.begin() + window.end - (feed.beyond ? 1 : 0);
  tokens.insert(tokens.end(), document.tokens.begin() + window.begin, end);
  if (feed.bos == Bos::replace) tokens.front() = model.config.bos_token_id.value();
  return at::tensor(tokens, at::kLong).to(model.embed_tokens_VD.device());
}

at::Tensor EvaluationInput::tokens(const Window& window) const {
  return window_tokens(document_of(window), window, feed, model);
}

std::vector<Json> score_windows(const std::vector<ScoredPrefix>& windows, const at::Tensor& tokens_T,
                                const at::Tensor& hidden_TD, const at::Tensor& reference_TD) {
  std::vector<WindowScore> scores;
  for (const ScoredPrefix& window : windows) scores.emplace_back(window, tokens_T);
  const EvaluationInput& input = windows.front().input;
  while (true) {
    WindowScore* first = nullptr;
    for (WindowScore& score : scores) {
      if (!score.ended() && (first == nullptr || score.block() < first->block())) first = &score;
    }
    if (first == nullptr) break;
    const auto [begin, end] = first->block();
    const at::Tensor logits_RV = logits(input.model, hidden_TD.slice(0, begin, end)), targets_R = first->targets_R(),
                     nll_R = first->losses_R(logits_RV, "the", input.model, input.angles_of);
    at::Tensor reference_RV, reference_nll_R;
    if (const ReferenceModel* reference = input.reference) {
      reference_RV = logits(reference->model, reference_TD.slice(0, begin, end));
      reference_nll_R = first->losses_R(reference_RV, "the reference's", reference->model, reference->angles_of);
    }
    for (WindowScore& score : scores) {
      if (!score.ended() && score.block() == std::pair(begin, end))
        score.add({begin, logits_RV, targets_R, nll_R, reference_RV, reference_nll_R});
    }
  }
  std::vector<Json> sums;
  for (WindowScore& score : scores) sums.push_back(score.sums());
  return sums;
}

}  // namespace qroar
