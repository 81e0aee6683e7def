// Dimensions: T tokens of a window, D hidden size.
#include "eval/evaluate.h"

#include <algorithm>
#include <chrono>

#include "base/stop.h"
#include "eval/followers.h"
#include "model/packing.h"
#include "ops/device.h"

namespace qroar {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point before) { return std::chrono::duration<double>(Clock::now() - before).count(); }

/// Consecutive windows of one evaluation that go through the model together, and their final hidden states.
struct Batch {
  const EvaluationInput& input;
  const Companion* companion;  ///< null for our own windows
  std::size_t first, end;
  std::vector<at::Tensor> tokens{}, hidden{}, reference{};
  double seconds = 0;  ///< each window's share of the passes

  std::size_t size() const { return end - first; }
  int64_t length() const { return tokens_seen(input.windows[first], input.feed); }
};

/// Returns a batch's sequences as one pass.
Pass pass_of(const Batch& batch, const AnglesOf& angles_of) {
  const ops::RopeAngles angles = angles_of(batch.length());
  if (batch.size() == 1) return {batch.tokens.front(), angles};
  const std::vector<PackedSequence> sequences(batch.size(), {.length = batch.length()});
  return {at::cat(batch.tokens), packed(sequences, angles)};
}

class Evaluator {
 public:
  Evaluator(const EvaluationInput& input, const Metrics& metrics, PartStore& store,
            const std::vector<Companion>& companions, const Advance& advance)
      : input_(input), metrics_(metrics), store_(store), companions_(companions), advance_(advance) {
    together_ = can_pack(input.model) && (input.reference == nullptr || can_pack(input.reference->model));
    // Else what a token sees may depend on the window's end.
    if (together_) followers_ = Followers(input, store, companions);
  }

  /// Takes the windows through the model a batch at a time, or, where it is streamed, most_tokens() at a time.
  void run() {
    std::vector<Batch> group;
    int64_t tokens = 0;
    const auto end_group = [&] {
      if (group.empty()) return;
      take_through(group);
      for (const Batch& batch : group) score(batch);
      group.clear();
      tokens = 0;
    };
    for (const Batch& batch : batches()) {
      if (!is_needed(batch)) {
        advance(batch, 1);
        continue;
      }
      group.push_back(batch);
      tokens += batch.length() * static_cast<int64_t>(batch.size());
      if (!input_.model.is_streamed() || tokens >= most_tokens()) end_group();
    }
    end_group();
  }

 private:
  /// Returns all batches of our windows and, where the model is streamed, of the companions'.
  std::vector<Batch> batches() const {
    std::vector<Batch> all;
    append_batches(input_, nullptr, all);
    if (!input_.model.is_streamed()) return all;
    for (const Companion& companion : companions_) append_batches(companion.input, &companion, all);
    return all;
  }

  /// A batch consists of consecutive windows of the same number of tokens, up to kPackedTokens in total.  It depends on
  /// the windows alone, not on which of them are already known, since it may affect the last bits.
  void append_batches(const EvaluationInput& input, const Companion* companion, std::vector<Batch>& batches) const {
    const auto length = [&](std::size_t i) { return tokens_seen(input.windows[i], input.feed); };
    std::size_t end = 0;
    for (std::size_t first = 0; first < input.windows.size(); first = end) {
      const auto most = static_cast<std::size_t>(std::max<int64_t>(1, kPackedTokens / length(first)));
      end = first + 1;
      while (together_ && end < input.windows.size() && end - first < most && length(end) == length(first)) ++end;
      batches.push_back({input, companion, first, end});
    }
  }

  bool is_needed(const Batch& batch, std::size_t window) const {
    if (batch.companion == nullptr) return store_.find(window_part(window)) == nullptr;
    return followers_.are_without(*batch.companion, window);
  }
  bool is_needed(const Batch& batch) const {
    for (std::size_t i = batch.first; i < batch.end; ++i) {
      if (is_needed(batch, i)) return true;
    }
    return false;
  }

  /// Returns after how many tokens a group is full: kGroupTokens, or fewer where their hidden states would take more
  /// than a quarter of what is free.
  int64_t most_tokens() const {
    const at::Tensor& weights = input_.model.embed_tokens_VD;
    const int64_t states = input_.reference == nullptr ? 2 : 4;  // with a copy while the last norm is applied
    const int64_t bytes = states * input_.model.config.hidden_size * static_cast<int64_t>(weights.element_size());
    return std::min(kGroupTokens, ops::available_bytes(weights.device()) / 4 / bytes);
  }

  void take_through(std::vector<Batch>& group) const {
    for (Batch& batch : group) {
      for (std::size_t i = batch.first; i < batch.end; ++i)
        batch.tokens.push_back(batch.input.tokens(batch.input.windows[i]));
    }
    const auto before = Clock::now();
    const std::function<void()> after_layer = [&] {
      if (!input_.model.is_streamed()) return;
      for (const Batch& batch : group) advance(batch, 1 / stages());
      throw_if_stop_requested();  // a group of a large model takes long
    };
    const auto hidden_of = [&](const Llama& model, const auto& angles_of, auto Batch::*result) {
      std::vector<Pass> passes;
      for (const Batch& batch : group) passes.push_back(pass_of(batch, angles_of(batch.input)));
      const std::vector<at::Tensor> found = forward(model, passes, nullptr, after_layer);
      for (std::size_t k = 0; k < group.size(); ++k) group[k].*result = found[k].split(group[k].length());
    };
    hidden_of(
        input_.model, [](const EvaluationInput& of) { return of.angles_of; }, &Batch::hidden);
    if (input_.reference != nullptr) {
      const auto angles_of = [](const EvaluationInput& of) { return of.reference->angles_of; };
      hidden_of(input_.reference->model, angles_of, &Batch::reference);
    }
    double operations = 0;
    const double seconds = seconds_since(before);
    const auto of_window = [&](const Batch& batch) { return forward_flops(input_.model.config, batch.length()); };
    for (const Batch& batch : group) operations += of_window(batch) * static_cast<double>(batch.size());
    for (Batch& batch : group) batch.seconds = seconds * of_window(batch) / operations;
  }

  /// Returns in how many stages a window of a group is done: the layers of a streamed model and of its reference, which
  /// groups go through one by one, and what follows.
  double stages() const {
    if (!input_.model.is_streamed()) return 1;
    const std::size_t others = input_.reference == nullptr ? 0 : input_.reference->model.layers.size();
    return static_cast<double>(input_.model.layers.size() + others + 1);
  }

  void advance(const Batch& batch, double share) const {
    for (std::size_t i = batch.first; i < batch.end; ++i) advance(batch, i, share);
  }
  void advance(const Batch& batch, std::size_t window, double share) const {
    if (batch.companion == nullptr) advance_(batch.input.windows[window], share);
  }

  /// Puts the results of a batch's windows and of their followers into their stores.
  void score(const Batch& batch) {
    for (std::size_t i = batch.first; i < batch.end; ++i) {
      if (is_needed(batch, i)) score(batch, i);
      advance(batch, i, 1 / stages());
    }
  }
  void score(const Batch& batch, std::size_t i) {
    const auto before = Clock::now();
    const std::size_t k = i - batch.first;
    const std::vector<Follower> followers =
        batch.companion == nullptr ? followers_.of(i, batch.hidden[k]) : std::vector<Follower>{};
    const Metrics& metrics = batch.companion == nullptr ? metrics_ : batch.companion->metrics;
    std::vector<ScoredPrefix> windows{{batch.input, batch.input.windows[i], metrics}};
    for (const Follower& follower : followers)
      windows.push_back({follower.companion->input, follower.own(), follower.companion->metrics});
    const at::Tensor reference_TD = batch.reference.empty() ? at::Tensor() : batch.reference[k];
    const std::vector<Json> sums = score_windows(windows, batch.tokens[k], batch.hidden[k], reference_TD);
    const double seconds = batch.seconds + seconds_since(before);
    if (batch.companion == nullptr) {
      store_.add(window_part(i), sums.front(), seconds);
    } else {
      batch.companion->store.add(i, sums.front(), seconds);
    }
    const LlamaConfig& config = input_.model.config;
    for (std::size_t f = 0; f < followers.size(); ++f) {
      const double share = forward_flops(config, followers[f].tokens()) / forward_flops(config, batch.length());
      followers[f].companion->store.add(followers[f].window, sums[f + 1], share * seconds);
    }
  }

  const EvaluationInput& input_;
  const Metrics& metrics_;
  PartStore& store_;
  const std::vector<Companion>& companions_;
  const Advance& advance_;
  bool together_;
  Followers followers_;
};

}  // namespace

std::string window_part(std::size_t window) { return fmt::format("window/{}", window); }

std::vector<WindowLoss> evaluate(const EvaluationInput& input, const Metrics& metrics, PartStore* store,
                                 const std::vector<Companion>& companions, const Advance& advance) {
  KeptParts kept;
  PartStore& parts = store == nullptr ? kept : *store;
  Evaluator(input, metrics, parts, companions, advance).run();
  std::vector<WindowLoss> losses;
  for (std::size_t i = 0; i < input.windows.size(); ++i) {
    const Json& sums = *parts.find(window_part(i));
    losses.push_back({input.windows[i], moments_of(sums["nll"])});
    for (std::size_t k = 0; k < metrics.size(); ++k) metrics[k]->take(input.windows[i], sums["metrics"][k]);
  }
  return losses;
}

}  // namespace qroar
