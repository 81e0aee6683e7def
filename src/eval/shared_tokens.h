// The tokens that questions begin with: padding, examples.
#pragma once
#include <vector>

#include "eval/choices.h"

namespace qroar {

/// The smallest length of a shared prefix that is worth keeping.
inline constexpr int64_t kSharedTokens = 128;

/// The prefix that most questions have in all their contexts, at least one token shorter than each of them; empty where
/// no two questions share kSharedTokens.  The others are few: prompts that are too long to be padded, or that lost
/// their beginning.
struct SharedTokens {
  std::vector<int32_t> prefix;
  std::vector<bool> by;  ///< for each question

  int64_t count(std::size_t question) const { return by[question] ? std::ssize(prefix) : 0; }
};

SharedTokens shared_tokens(const std::vector<Choices>& questions);

}  // namespace qroar
