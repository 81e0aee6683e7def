// T tokens of a window, D hidden size, R rows of a block, V vocabulary.
#include "eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"

namespace qroar {
namespace {

/// Remembers the first site, in forward order, that holds a value which is not finite.
class FirstNonFinite : public Observer {
 public:
  void on(std::string_view site, const at::Tensor& value) override {
    if (!site_ && !value.isfinite().all().item<bool>()) site_ = site;
  }
  std::optional<std::string> site() const { return site_; }

 private:
  std::optional<std::string> site_;
};

[[noreturn]] void fail_non_finite(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                                  const Document& document, int64_t position, double loss) {
  FirstNonFinite first;
  const at::Tensor hidden_TD = forward(model, tokens_T, angles, &first);
  for (int64_t begin = 0; begin < hidden_TD.size(0); begin += kLogitRows) {
    logits(model, hidden_TD.slice(0, begin, begin + kLogitRows), &first);
  }
  fail(
      "document '{}': the loss at token {} is {}; the first values that are not finite come out of {} (dtype {}); "
      "check the weights, or try dtype: float32",
      document.id, position, loss, first.site().value_or("no site: a logit difference overflowed"),
      at::toString(model.embed_tokens_VD.scalar_type()));
}

}  // namespace

at::Tensor window_tokens(const Document& document, const Window& window, bool bos, const Llama& model) {
  std::vector<int64_t> tokens;
  tokens.reserve(static_cast<std::size_t>(tokens_seen(window, bos)));
  if (bos) tokens.push_back(model.config.bos_token_id);
  tokens.insert(tokens.end(), document.tokens.begin() + window.begin, document.tokens.begin() + window.end);
  return at::tensor(tokens, at::kLong).to(model.embed_tokens_VD.device());
}

std::vector<WindowLoss> evaluate(const Llama& model, const AnglesOf& angles_of, const std::vector<Document>& documents,
                                 const std::vector<Window>& windows, bool bos,
                                 const std::vector<std::unique_ptr<Metric>>& metrics,
                                 const std::function<void(const Window&)>& after_window) {
  std::vector<WindowLoss> losses;
  for (const Window& window : windows) {
    const Document& document = documents[static_cast<std::size_t>(window.document)];
    const at::Tensor tokens_T = window_tokens(document, window, bos, model);
    const ops::RopeAngles angles = angles_of(tokens_T.size(0));
    const at::Tensor hidden_TD = forward(model, tokens_T, angles);
    const int64_t last =
        tokens_T.size(0) - 1;  // the row before the last token predicts it; the last row predicts nothing
    WindowLoss result{window, {}};
    for (int64_t begin = last - window.scored; begin < last; begin += kLogitRows) {
      const int64_t end = std::min(begin + kLogitRows, last);
      const at::Tensor logits_RV = logits(model, hidden_TD.slice(0, begin, end));
      const at::Tensor targets_R = tokens_T.slice(0, begin + 1, end + 1);
      const at::Tensor nll_R = ops::token_nll(logits_RV, targets_R).to(at::kCPU);
      for (int64_t row = 0; row < end - begin; ++row) {
        const double nll = nll_R.const_data_ptr<double>()[row];
        if (!std::isfinite(nll))
          fail_non_finite(model, tokens_T, angles, document, window.begin + begin + row + (bos ? 0 : 1), nll);
        result.nll.add(nll);
      }
      const LogitBlock block{window, static_cast<int64_t>(losses.size()), logits_RV, targets_R, nll_R};
      for (const auto& metric : metrics) metric->add(block);
    }
    losses.push_back(result);
    after_window(window);
  }
  return losses;
}

}  // namespace qroar
