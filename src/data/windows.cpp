#include "data/windows.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

WindowRule::WindowRule(const Config& config) : length(config.get<int64_t>("length")) {
  if (length < 2) {
    config.at("length").fail(
        fmt::format("is {}; a window needs at least 2 tokens, one to predict from and one to score", length));
  }
  stride = config.get<int64_t>("stride", length, Range<int64_t>{1, length});
  truncate = config.get<bool>("truncate", false);
  bos = config.get<bool>("bos", true);
  config.get_choice<bool>("score", true, {{"all", true}});
  aggregate = config.get_choice<Aggregate>(
      "aggregate", Aggregate::tokens,
      {{"tokens", Aggregate::tokens}, {"windows", Aggregate::windows}, {"documents", Aggregate::documents}});
}

std::vector<Window> windows_of(const std::vector<int64_t>& document_tokens, const WindowRule& rule) {
  check(rule.length >= 2 && rule.stride >= 1, "windows need length >= 2 and stride >= 1");
  const int64_t capacity = rule.bos ? rule.length - 1 : rule.length;
  // A larger step would leave a target without any context in its window.
  const int64_t step = std::min(rule.stride, rule.length - 1);
  const int64_t unscored_at_start = rule.bos ? 0 : 1;

  std::vector<Window> windows;
  for (int64_t document = 0; document < std::ssize(document_tokens); ++document) {
    const int64_t tokens = rule.truncate ? std::min(document_tokens[document], capacity) : document_tokens[document];
    int64_t scored_until = unscored_at_start;
    for (int64_t begin = 0; scored_until < tokens; begin += step) {
      const int64_t end = std::min(begin + capacity, tokens);
      windows.push_back({document, begin, end, end - scored_until});
      scored_until = end;
    }
  }
  return windows;
}

}  // namespace qroar
