// Dimensions: T tokens of a window, D hidden size.
#include "eval/evaluate.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/warn_once.h"
#include "model/packing.h"

namespace qroar {
namespace {

/// Windows that go through the model together, and their final hidden states.
struct Pass {
  std::size_t first, end;
  std::vector<at::Tensor> tokens{}, hidden{}, reference{};
};

/// A companion's window that is a prefix of one of ours.
struct Follower {
  const Companion* companion;
  std::size_t window;

  const Window& own() const { return companion->input.windows[window]; }
  int64_t tokens() const { return tokens_seen(own(), companion->input.feed); }
};

/// Returns the final hidden states [T, D] of sequences [T] of one length.
std::vector<at::Tensor> forward_together(const Llama& model, const std::vector<at::Tensor>& tokens,
                                         const ops::RopeAngles& angles) {
  if (tokens.size() == 1) return {forward(model, tokens.front(), angles)};
  const std::vector<PackedSequence> sequences(tokens.size(), {.length = tokens.front().size(0)});
  return forward(model, at::cat(tokens), packed(sequences, angles)).split(tokens.front().size(0));
}

bool begins_with(const ops::RopeAngles& angles, const ops::RopeAngles& shorter, int64_t length) {
  const ops::RopeAngles own = angles.slice(0, length), other = shorter.slice(0, length);
  return at::equal(own.cos_TP, other.cos_TP) && at::equal(own.sin_TP, other.sin_TP);
}

class Evaluator {
 public:
  Evaluator(const EvaluationInput& input, const Metrics& metrics, PartStore& store,
            const std::vector<Companion>& companions)
      : input_(input), metrics_(metrics), store_(store), companions_(companions) {
    together_ = can_pack(input.model) && (input.reference == nullptr || can_pack(input.reference->model));
    if (!together_) return;  // what a token sees may depend on the window's end
    for (const Companion& companion : companions) {
      for (std::size_t i = 0; i < companion.input.windows.size(); ++i) {
        if (!companion.store.has(i)) waiting_[place(companion.input, i)].push_back({&companion, i});
      }
    }
  }

  void run(const std::function<void(const Window&)>& after_window) {
    std::size_t end = 0;
    for (std::size_t first = 0; first < input_.windows.size(); first = end) {
      end = together_ ? end_of_batch(first) : first + 1;
      // The batches depend on the windows alone, not on which of them are already known, since they may affect the last
      // bits.
      std::optional<Pass> pass;
      for (std::size_t i = first; i < end; ++i) {
        if (store_.find(window_part(i)) == nullptr) {
          if (!pass) pass = taken_through(first, end);
          score(*pass, i);
        }
        after_window(input_.windows[i]);
      }
    }
  }

 private:
  using Place = std::pair<std::string, int64_t>;  // the id of a document and a token of it
  static Place place(const EvaluationInput& input, std::size_t window) {
    return {input.document_of(input.windows[window]).id, input.windows[window].begin};
  }

  /// Returns the end of the batch of windows that begins with window `first`: consecutive windows of the same number of
  /// tokens, up to kPackedTokens in total.
  std::size_t end_of_batch(std::size_t first) const {
    const auto length = [&](std::size_t i) { return tokens_seen(input_.windows[i], input_.feed); };
    const auto most = static_cast<std::size_t>(std::max<int64_t>(1, kPackedTokens / length(first)));
    std::size_t end = first + 1;
    while (end < input_.windows.size() && end - first < most && length(end) == length(first)) ++end;
    return end;
  }

  Pass taken_through(std::size_t first, std::size_t end) const {
    Pass pass{first, end};
    for (std::size_t i = first; i < end; ++i) pass.tokens.push_back(input_.tokens(input_.windows[i]));
    const int64_t length = pass.tokens.front().size(0);
    pass.hidden = forward_together(input_.model, pass.tokens, input_.angles_of(length));
    pass.reference.resize(pass.tokens.size());
    if (const ReferenceModel* reference = input_.reference)
      pass.reference = forward_together(reference->model, pass.tokens, reference->angles_of(length));
    return pass;
  }

  /// Puts the results of window i and of its followers into their stores.
  void score(const Pass& pass, std::size_t i) {
    const at::Tensor &tokens_T = pass.tokens[i - pass.first], &hidden_TD = pass.hidden[i - pass.first];
    std::vector<ScoredPrefix> windows{{input_, input_.windows[i], metrics_}};
    const std::vector<Follower> followers = followers_of(i, tokens_T, hidden_TD);
    for (const Follower& follower : followers)
      windows.push_back({follower.companion->input, follower.own(), follower.companion->metrics});
    const std::vector<Json> sums = score_windows(windows, tokens_T, hidden_TD, pass.reference[i - pass.first]);
    store_.add(window_part(i), sums.front());
    for (std::size_t k = 0; k < followers.size(); ++k)
      followers[k].companion->store.add(followers[k].window, sums[k + 1], i);
  }

  std::vector<Follower> followers_of(std::size_t i, const at::Tensor& tokens_T, const at::Tensor& hidden_TD) {
    std::vector<Follower> followers;
    const auto waiting = waiting_.find(place(input_, i));
    if (waiting == waiting_.end()) return followers;
    std::erase_if(waiting->second, [&](const Follower& follower) {
      if (!follows(follower, tokens_T)) return false;
      followers.push_back(follower);
      return true;
    });
    const auto is_shorter = [&](const Follower& follower) { return follower.tokens() < tokens_T.size(0); };
    const auto shortest = std::ranges::min_element(followers, {}, &Follower::tokens);
    if (!exact_ && shortest != followers.end() && is_shorter(*shortest)) exact_ = gives_same_bits(*shortest, hidden_TD);
    if (exact_ == false) std::erase_if(followers, is_shorter);
    return followers;
  }

  bool follows(const Follower& follower, const at::Tensor& tokens_T) const {
    const EvaluationInput& other = follower.companion->input;
    const int64_t length = follower.tokens(), all = tokens_T.size(0);
    if (length != all && (length > all || length % kPrefixTokens != 0)) return false;
    if (!at::equal(other.tokens(follower.own()), tokens_T.slice(0, 0, length))) return false;
    return begins_with(input_.angles_of(all), other.angles_of(length), length) &&
           (input_.reference == nullptr ||
            begins_with(input_.reference->angles_of(all), other.reference->angles_of(length), length));
  }

  bool gives_same_bits(const Follower& follower, const at::Tensor& hidden_TD) const {
    const at::Tensor tokens_T = follower.companion->input.tokens(follower.own());
    const at::Tensor alone_TD = forward(input_.model, tokens_T, input_.angles_of(tokens_T.size(0)));
    if (at::equal(alone_TD, hidden_TD.slice(0, 0, tokens_T.size(0)))) return true;
    warn_once(
        "on this processor the first tokens of a window have other last bits than alone; each length is evaluated by "
        "itself");
    return false;
  }

  const EvaluationInput& input_;
  const Metrics& metrics_;
  PartStore& store_;
  const std::vector<Companion>& companions_;
  bool together_;
  std::map<Place, std::vector<Follower>> waiting_;
  std::optional<bool> exact_;  ///< gives_same_bits(), once it is known
};

}  // namespace

std::string window_part(std::size_t window) { return fmt::format("window/{}", window); }

std::vector<WindowLoss> evaluate(const EvaluationInput& input, const Metrics& metrics, PartStore* store,
                                 const std::function<void(const Window&)>& after_window,
                                 const std::vector<Companion>& companions) {
  KeptParts kept;
  PartStore& parts = store == nullptr ? kept : *store;
  Evaluator(input, metrics, parts, companions).run(after_window);
  std::vector<WindowLoss> losses;
  for (std::size_t i = 0; i < input.windows.size(); ++i) {
    const Json& sums = *parts.find(window_part(i));
    losses.push_back({input.windows[i], moments_of(sums["nll"])});
    for (std::size_t k = 0; k < metrics.size(); ++k) metrics[k]->take(input.windows[i], sums["metrics"][k]);
  }
  return losses;
}

}  // namespace qroar
