#include "eval/shared_tokens.h"

#include <algorithm>
#include <map>

namespace qroar {

using Tokens = std::vector<int32_t>;

SharedTokens shared_tokens(const std::vector<Choices>& questions) {
  std::vector<Tokens> beginnings;  // of each question; empty where its contexts begin differently
  std::map<Tokens, std::size_t> count;
  for (const Choices& question : questions) {
    const Tokens& first = question.pairs.front().context;
    const auto begins = [&](const TokenPair& pair) {
      return std::ssize(pair.context) > kSharedTokens &&
             std::equal(first.begin(), first.begin() + kSharedTokens, pair.context.begin());
    };
    const bool alike = std::ranges::all_of(question.pairs, begins);
    beginnings.push_back(alike ? Tokens(first.begin(), first.begin() + kSharedTokens) : Tokens());
    if (alike) ++count[beginnings.back()];
  }
  SharedTokens shared{{}, std::vector<bool>(questions.size(), false)};
  const auto most = std::ranges::max_element(count, {}, [](const auto& entry) { return entry.second; });
  if (most == count.end() || most->second < std::min<std::size_t>(2, questions.size())) return shared;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (beginnings[i] != most->first) continue;
    shared.by[i] = true;
    for (const TokenPair& pair : questions[i].pairs) {
      const Tokens& context = pair.context;
      if (shared.prefix.empty()) shared.prefix.assign(context.begin(), context.end() - 1);
      const auto end = context.begin() + std::min(std::ssize(shared.prefix), std::ssize(context) - 1);
      shared.prefix.resize(
          static_cast<std::size_t>(std::mismatch(context.begin(), end, shared.prefix.begin()).first - context.begin()));
    }
  }
  return shared;
}

}  // namespace qroar
