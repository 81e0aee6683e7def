// Dimensions: T tokens of a window, D hidden size, R rows of a block, V vocabulary.
#include "eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "model/packing.h"

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

namespace {

/// Returns the final hidden states [T, D] of sequences [T] of one length.
std::vector<at::Tensor> forward_together(const Llama& model, const std::vector<at::Tensor>& tokens,
                                         const ops::RopeAngles& angles) {
  if (tokens.size() == 1) return {forward(model, tokens.front(), angles)};
  const std::vector<PackedSequence> sequences(tokens.size(), {.length = tokens.front().size(0)});
  return forward(model, at::cat(tokens), packed(sequences, angles)).split(tokens.front().size(0));
}

bool is_finite(const Json& json) {
  if (json.is_structured()) return std::all_of(json.begin(), json.end(), is_finite);
  return !json.is_number() || std::isfinite(json.get<double>());
}

/// Feeds the blocks of one window to the metrics and returns its losses.
Moments score_window(const EvaluationInput& input, const Window& window, const at::Tensor& tokens_T,
                     const at::Tensor& hidden_TD, const at::Tensor& reference_TD,
                     const std::vector<std::unique_ptr<Metric>>& metrics) {
  const Document& document = input.documents[static_cast<std::size_t>(window.document)];
  for (const auto& metric : metrics) metric->begin_window({window, tokens_T, input.reference});
  at::Tensor targets_T = tokens_T.slice(0, 1);  // row t predicts token t + 1
  if (input.feed.beyond) {
    const int64_t beyond = document.tokens[static_cast<std::size_t>(window.end - 1)];
    targets_T = at::cat({targets_T, at::full({1}, beyond, targets_T.options())});
  }
  const int64_t last = targets_T.size(0);
  Moments nll;
  for (int64_t begin = last - window.scored; begin < last; begin += kLogitRows) {
    const int64_t end = std::min(begin + kLogitRows, last);
    const at::Tensor logits_RV = logits(input.model, hidden_TD.slice(0, begin, end));
    const at::Tensor targets_R = targets_T.slice(0, begin, end);
    const auto losses_R = [&](const at::Tensor& of_RV, const char* whose, const Llama& model,
                              const AnglesOf& angles_of) {
      const at::Tensor nll_R = ops::token_nll(of_RV, targets_R).to(at::kCPU);
      for (int64_t row = 0; row < end - begin; ++row) {
        const double loss = nll_R.const_data_ptr<double>()[row];
        if (std::isfinite(loss * loss)) continue;  // the square is summed, too
        const int64_t position = window.begin + begin + row + 1 - input.feed.added();
        fail_non_finite(whose, model, tokens_T, angles_of(tokens_T.size(0)), document, position, loss);
      }
      return nll_R;
    };
    const at::Tensor nll_R = losses_R(logits_RV, "the", input.model, input.angles_of);
    for (int64_t row = 0; row < end - begin; ++row) nll.add(nll_R.const_data_ptr<double>()[row]);
    at::Tensor reference_RV, reference_nll_R;
    if (const ReferenceModel* reference = input.reference) {
      reference_RV = logits(reference->model, reference_TD.slice(0, begin, end));
      reference_nll_R = losses_R(reference_RV, "the reference's", reference->model, reference->angles_of);
    }
    for (const auto& metric : metrics) metric->add({begin, logits_RV, targets_R, nll_R, reference_RV, reference_nll_R});
  }
  return nll;
}

/// Returns the results of windows first .. end-1, which go through the model together.
std::vector<Json> score_together(const EvaluationInput& input, std::size_t first, std::size_t end,
                                 const std::vector<std::unique_ptr<Metric>>& metrics) {
  std::vector<at::Tensor> tokens;
  for (std::size_t i = first; i < end; ++i) {
    const Window& window = input.windows[i];
    tokens.push_back(
        window_tokens(input.documents[static_cast<std::size_t>(window.document)], window, input.feed, input.model));
  }
  const ops::RopeAngles angles = input.angles_of(tokens.front().size(0));
  const std::vector<at::Tensor> hidden = forward_together(input.model, tokens, angles);
  std::vector<at::Tensor> reference(tokens.size());
  if (input.reference != nullptr) {
    reference = forward_together(input.reference->model, tokens, input.reference->angles_of(tokens.front().size(0)));
  }
  std::vector<Json> all;
  for (std::size_t k = 0; k < tokens.size(); ++k) {
    Json sums;
    sums["nll"] = to_json(score_window(input, input.windows[first + k], tokens[k], hidden[k], reference[k], metrics));
    sums["metrics"] = Json::array();
    for (const auto& metric : metrics) sums["metrics"].push_back(metric->end_window());
    if (!is_finite(sums["metrics"])) {
      const Window& window = input.windows[first + k];
      fail(
          "document '{}': the window at token {} gives a metric sums that are not finite: logits overflow; check the "
          "weights, or try dtype: float32",
          input.documents[static_cast<std::size_t>(window.document)].id, window.begin);
    }
    all.push_back(std::move(sums));
  }
  return all;
}

/// Returns the end of the batch of windows that begins with window `first`: consecutive windows of the same number of
/// tokens, up to kPackedTokens in total.
std::size_t end_of_batch(const EvaluationInput& input, std::size_t first) {
  const int64_t length = tokens_seen(input.windows[first], input.feed);
  const auto most = static_cast<std::size_t>(std::max<int64_t>(1, kPackedTokens / length));
  std::size_t end = first + 1;
  while (end < input.windows.size() && end - first < most && tokens_seen(input.windows[end], input.feed) == length)
    ++end;
  return end;
}

}  // namespace

std::vector<WindowLoss> evaluate(const EvaluationInput& input, const std::vector<std::unique_ptr<Metric>>& metrics,
                                 PartStore* store, const std::function<void(const Window&)>& after_window) {
  const bool together = can_pack(input.model) && (input.reference == nullptr || can_pack(input.reference->model));
  std::vector<WindowLoss> losses;
  std::size_t end = 0;
  for (std::size_t first = 0; first < input.windows.size(); first = end) {
    end = together ? end_of_batch(input, first) : first + 1;
    // The batches depend on the windows alone, not on which of them are already known, since they may affect the last
    // bits.
    std::vector<Json> found;
    for (std::size_t i = first; i < end; ++i) {
      const std::string part = fmt::format("window/{}", i);
      const Json* known = store == nullptr ? nullptr : store->find(part);
      if (known == nullptr && found.empty()) found = score_together(input, first, end, metrics);
      const Json& sums = known != nullptr ? *known : found[i - first];
      if (known == nullptr && store != nullptr) store->add(part, sums);
      losses.push_back({input.windows[i], moments_of(sums["nll"])});
      for (std::size_t k = 0; k < metrics.size(); ++k) metrics[k]->take(input.windows[i], sums["metrics"][k]);
      after_window(input.windows[i]);
    }
  }
  return losses;
}

}  // namespace qroar
