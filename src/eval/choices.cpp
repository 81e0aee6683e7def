// Dimensions: T tokens of a pack, R rows of a block.
#include "eval/choices.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "eval/choice_packs.h"
#include "eval/shared_tokens.h"
#include "eval/token_losses.h"
#include "model/packing.h"

namespace qroar {
namespace {

at::Tensor on_device(const Llama& model, const std::vector<int64_t>& numbers) {
  return at::tensor(numbers, at::kLong).to(model.embed_tokens_VD.device());
}

/// Concatenated sequences, and which of their rows predict which token of which continuation.
class Pack {
 public:
  /// `shared`: the number of leading tokens of every context that are in a prefix instead.
  explicit Pack(int64_t shared) : shared_(shared) {}

  void add(const Choices& question, const Part& part) {
    const std::vector<int32_t>& context = question.pairs[part.first].context;
    const int64_t parent = append({context.begin() + shared_, context.end()}, -1);
    const int64_t context_end = std::ssize(tokens_);
    for (std::size_t i = part.first; i < part.end; ++i) {
      const std::vector<int32_t>& continuation = question.pairs[i].continuation;
      const int64_t first = std::ssize(tokens_);
      if (continuation.size() > 1) append({continuation.begin(), continuation.end() - 1}, parent);
      for (int64_t k = 0; k < std::ssize(continuation); ++k) {
        rows_.push_back(k == 0 ? context_end - 1 : first + k - 1);
        targets_.push_back(continuation[static_cast<std::size_t>(k)]);
        owners_.emplace_back(part.question, i);
      }
    }
  }

  /// Subtracts every loss from its owner's score; angles cover all tokens.
  void score(const Llama& model, const ops::RopeAngles& angles, const SharedPrefix* prefix,
             std::vector<std::vector<double>>& likelihoods) const {
    const at::Tensor hidden_TD = forward(model, on_device(model, tokens_), packed(sequences_, angles, prefix));
    const at::Tensor rows = on_device(model, rows_), targets = on_device(model, targets_);
    for (int64_t begin = 0; begin < rows.size(0); begin += kLogitRows) {
      const int64_t end = std::min(begin + kLogitRows, rows.size(0));
      const at::Tensor nll_R = ops::token_nll(logits(model, hidden_TD.index_select(0, rows.slice(0, begin, end))),
                                              targets.slice(0, begin, end))
                                   .to(at::kCPU);
      for (int64_t row = begin; row < end; ++row) {
        const auto [question, choice] = owners_[static_cast<std::size_t>(row)];
        likelihoods[question][choice] -= nll_R.const_data_ptr<double>()[row - begin];
      }
    }
  }

 private:
  int64_t append(std::vector<int32_t> tokens, int64_t parent) {
    sequences_.push_back({std::ssize(tokens), parent});
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    return std::ssize(sequences_) - 1;
  }
  int64_t shared_;
  std::vector<PackedSequence> sequences_;
  std::vector<int64_t> tokens_, rows_, targets_;
  std::vector<std::pair<std::size_t, std::size_t>> owners_;  ///< question and choice of each of rows_
};

double log_likelihood_alone(const Llama& model, const AnglesOf& angles_of, const TokenPair& pair) {
  const auto& [context, continuation] = pair;
  std::vector<int64_t> tokens(context.begin(), context.end());
  tokens.insert(tokens.end(), continuation.begin(), continuation.end() - 1);
  // The last token is only predicted: it neither goes through the model nor counts for the scheme's length.
  const at::Tensor tokens_T = on_device(model, tokens);
  const at::Tensor hidden_TD = forward(model, tokens_T, angles_of(tokens_T.size(0)));
  const std::vector<int64_t> targets(continuation.begin(), continuation.end());
  const int64_t first = std::ssize(context) - 1;
  double sum = 0;
  for (int64_t begin = 0; begin < std::ssize(targets); begin += kLogitRows) {
    const int64_t end = std::min(begin + kLogitRows, std::ssize(targets));
    const at::Tensor logits_RV = logits(model, hidden_TD.slice(0, first + begin, first + end));
    sum += ops::token_nll(logits_RV, at::tensor(targets, at::kLong).slice(0, begin, end).to(logits_RV.device()))
               .sum()
               .item<double>();
  }
  return -sum;
}

}  // namespace

std::vector<double> choice_flops(const LlamaConfig& llama, const std::vector<Choices>& questions) {
  const SharedTokens shared = shared_tokens(questions);
  std::vector<double> flops;
  bool is_first = true;
  for (std::size_t index = 0; index < questions.size(); ++index) {
    const Choices& question = questions[index];
    const int64_t before = shared.count(index);
    flops.push_back(before > 0 && std::exchange(is_first, false) ? forward_flops(llama, before) : 0);
    for (const Part& part : parts_of(question, index)) {
      const int64_t tokens = std::ssize(question.pairs[part.first].context);
      flops.back() += forward_flops(llama, tokens - before, before);
      for (std::size_t i = part.first; i < part.end; ++i)
        flops.back() += forward_flops(llama, std::ssize(question.pairs[i].continuation) - 1, tokens);
    }
  }
  return flops;
}

std::vector<double> choice_log_likelihoods_alone(const Llama& model, const AnglesOf& angles_of,
                                                 const Choices& question) {
  std::vector<double> likelihoods;
  for (const TokenPair& pair : question.pairs) likelihoods.push_back(log_likelihood_alone(model, angles_of, pair));
  return likelihoods;
}

std::vector<Likelihoods> choice_log_likelihoods(const Llama& model, const AnglesOf& angles_of, const TableOf& table_of,
                                                const std::vector<Choices>& questions,
                                                const std::function<std::optional<Likelihoods>(std::size_t)>& known,
                                                const std::function<void(std::size_t, const Likelihoods&)>& answered) {
  std::vector<Likelihoods> likelihoods;
  for (const Choices& question : questions) likelihoods.emplace_back(question.pairs.size(), 0.0);
  const auto finish = [&](std::size_t question) {
    if (auto found = known(question))
      likelihoods[question] = std::move(*found);
    else
      answered(question, likelihoods[question]);
  };
  if (!can_pack(model)) {
    for (std::size_t i = 0; i < questions.size(); ++i) {
      if (!known(i)) likelihoods[i] = choice_log_likelihoods_alone(model, angles_of, questions[i]);
      finish(i);
    }
    return likelihoods;
  }
  SharedTokens shared = shared_tokens(questions);
  const Lengths sharing = lengths_of(questions, shared);
  if (!sharing.have_one_table(table_of)) shared = {{}, std::vector<bool>(questions.size(), false)};
  const int64_t tokens = std::ssize(shared.prefix);
  const ops::RopeAngles angles = tokens > 0 ? angles_of(sharing.longest) : ops::RopeAngles();
  std::optional<SharedPrefix> prefix;
  const auto score = [&](const std::vector<Part>& parts) {
    const Lengths lengths = lengths_of(questions, parts);
    if (!lengths.have_one_table(table_of)) {
      for (const auto& [question, first, end] : parts) {
        for (std::size_t i = first; i < end; ++i)
          likelihoods[question][i] = log_likelihood_alone(model, angles_of, questions[question].pairs[i]);
      }
      return;
    }
    const bool shares = shared.by[parts.front().question];
    if (shares && !prefix) {
      prefix.emplace(model, on_device(model, {shared.prefix.begin(), shared.prefix.end()}), angles,
                     sharing.longest - tokens);
    }
    Pack pack(shares ? tokens : 0);
    for (const Part& part : parts) pack.add(questions[part.question], part);
    pack.score(model, shares ? angles : angles_of(lengths.longest), shares ? &*prefix : nullptr, likelihoods);
  };
  for (const std::vector<Part>& parts : packs_of(questions, shared)) {
    if (!std::ranges::all_of(parts, [&](const Part& part) { return known(part.question).has_value(); })) score(parts);
    for (const Part& part : parts) {
      if (part.end == questions[part.question].pairs.size()) finish(part.question);
    }
  }
  return likelihoods;
}

}  // namespace qroar
