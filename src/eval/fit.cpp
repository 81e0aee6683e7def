#include "eval/fit.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {
namespace {

/// Returns the tokens of a question's longest context with its longest continuation.
int64_t length_of(const Choices& question) {
  int64_t context = 0, continuation = 0;
  for (const TokenPair& pair : question.pairs) {
    context = std::max(context, std::ssize(pair.context));
    continuation = std::max(continuation, std::ssize(pair.continuation));
  }
  return context + continuation;
}

}  // namespace

void pad(std::vector<Choices>& questions, const std::vector<int32_t>& padding, int64_t tokens,
         std::optional<int64_t> bos, const std::filesystem::path& file) {
  const int64_t room = tokens - (bos ? 1 : 0);
  int64_t longest = 0;
  for (const Choices& question : questions) {
    if (length_of(question) <= room) longest = std::max(longest, length_of(question));
  }
  const int64_t added = longest == 0 ? 0 : room - longest;
  if (added > std::ssize(padding))
    fail("{}: has {} tokens and {} are needed to pad to {}", file.string(), padding.size(), added, tokens);
  for (Choices& question : questions) {
    const int64_t before = length_of(question) <= room ? added : 0;
    for (auto& [context, continuation] : question.pairs) {
      context.insert(context.begin(), padding.begin(), padding.begin() + before);
      if (bos) context.insert(context.begin(), static_cast<int32_t>(*bos));
    }
  }
}

bool cut(Choices& question, int64_t window, const std::string& place) {
  bool is_cut = false;
  for (auto& [context, continuation] : question.pairs) {
    if (std::ssize(continuation) > window)
      fail("{}: a choice has {} tokens and the window {}", place, continuation.size(), window);
    const int64_t over = std::ssize(context) + std::ssize(continuation) - 1 - window;
    if (over > 0) context.erase(context.begin(), context.begin() + over);
    is_cut = is_cut || over > 0;
  }
  return is_cut;
}

}  // namespace qroar
