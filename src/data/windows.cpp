#include "data/windows.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {
namespace {

Bos read_bos(const Config& config) {
  if (!config.has("bos") || config.at("bos").json().is_boolean()) {
    return config.get<bool>("bos", true) ? Bos::every : Bos::none;
  }
  return config.get_choice<Bos>(
      "bos", Bos::every,
      {{"true", Bos::every}, {"false", Bos::none}, {"start", Bos::start}, {"replace", Bos::replace}});
}

/// Returns the window that begins at `begin` and holds up to `capacity` text tokens; `scored` is not yet set.
Window window_at(int64_t document, int64_t begin, int64_t capacity, int64_t tokens, const WindowRule& rule) {
  const int64_t end = std::min(begin + capacity, tokens);
  if (rule.tail == Tail::fill) begin = std::max<int64_t>(0, end - capacity);
  return {document, begin, end, 0};
}

/// Adds windows that score every token once, in the first window that contains it.
void add_scoring_once(std::vector<Window>& windows, int64_t document, int64_t tokens, int64_t capacity,
                      const WindowRule& rule) {
  // A larger step would leave a target without any context in its window.
  const int64_t step = std::min(rule.stride, rule.length - (rule.feed.beyond ? 0 : 1));
  int64_t scored_until = rule.feed.added() > 0 ? 0 : 1;
  for (int64_t begin = 0; scored_until < tokens; begin += step) {
    Window window = window_at(document, begin, capacity, tokens, rule);
    if (rule.tail == Tail::drop && window.end - window.begin < capacity) return;
    window.scored = window.end - scored_until;
    scored_until = window.end;
    windows.push_back(window);
  }
}

/// Adds windows that are scored independently of each other.
void add_scoring_each(std::vector<Window>& windows, int64_t document, int64_t tokens, int64_t capacity,
                      const WindowRule& rule) {
  const int64_t unscored =
      rule.score == Score::second_half ? rule.length / 2 + 1 - rule.feed.added() : 1 - rule.feed.added();
  int64_t last = tokens - 1;  // the last position at which a window may begin
  if (rule.tail == Tail::drop) last = tokens - capacity;
  if (rule.tail == Tail::longlora) last = tokens - capacity - 1 - rule.stride;
  for (int64_t begin = 0; begin <= last; begin += rule.stride) {
    Window window = window_at(document, begin, capacity, tokens, rule);
    window.scored = window.end - window.begin - unscored;
    if (window.scored > 0) windows.push_back(window);
    if (window.end == tokens && rule.tail != Tail::longlora) return;
  }
}

}  // namespace

WindowRule::WindowRule(const Config& config) : length(config.get<int64_t>("length")) {
  if (length < 2) {
    config.at("length").fail(
        fmt::format("is {}; a window needs at least 2 tokens, one to predict from and one to score", length));
  }
  truncate = config.get<bool>("truncate", false);
  concatenate = config.get<bool>("concatenate", false);
  feed = {read_bos(config), config.get_choice<bool>("targets", false, {{"inside", false}, {"beyond", true}})};
  if (feed.beyond && feed.bos == Bos::every) {
    config.at("targets").fail("beyond takes its first token from the text; say bos: start, false or replace");
  }
  score = config.get_choice<Score>(
      "score", Score::all, {{"all", Score::all}, {"window", Score::window}, {"second_half", Score::second_half}});
  // Scored each by itself, windows that are farther apart than they hold text would leave tokens out.
  const int64_t farthest = score == Score::all ? length : length - feed.added();
  stride = config.get<int64_t>("stride", farthest, Range<int64_t>{1, farthest});
  tail = config.get_choice<Tail>(
      "tail", Tail::keep,
      {{"keep", Tail::keep}, {"drop", Tail::drop}, {"fill", Tail::fill}, {"longlora", Tail::longlora}});
  if (tail == Tail::longlora && score != Score::window) {
    config.at("tail").fail("longlora goes with score: window; with others it is keep");
  }
  aggregate = config.get_choice<Aggregate>(
      "aggregate", Aggregate::tokens,
      {{"tokens", Aggregate::tokens}, {"windows", Aggregate::windows}, {"documents", Aggregate::documents}});
  config.get<std::string>("protocol", "");
}

std::vector<Window> windows_of(const std::vector<int64_t>& document_tokens, const WindowRule& rule) {
  check(rule.length >= 2 && rule.stride >= 1, "windows need length >= 2 and stride >= 1");
  const int64_t capacity = rule.length - rule.feed.added() + (rule.feed.beyond ? 1 : 0);
  std::vector<Window> windows;
  for (int64_t document = 0; document < std::ssize(document_tokens); ++document) {
    const int64_t all = document_tokens[static_cast<std::size_t>(document)];
    const int64_t tokens = rule.truncate ? std::min(all, capacity) : all;
    (rule.score == Score::all ? add_scoring_once : add_scoring_each)(windows, document, tokens, capacity, rule);
  }
  return windows;
}

int64_t longest_seen(const std::vector<Window>& windows, const Feed& feed) {
  int64_t longest = 0;
  for (const Window& window : windows) longest = std::max(longest, tokens_seen(window, feed));
  return longest;
}

}  // namespace qroar
