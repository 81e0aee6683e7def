// Windows of documents of any lengths under any rule: each token is scored as often as the rule says.
#include <fuzzer/FuzzedDataProvider.h>

#include "data/windows.h"
#include "fuzz.h"

namespace qroar {
namespace {

WindowRule rule_of(FuzzedDataProvider& from) {
  WindowRule rule;
  rule.length = from.ConsumeIntegralInRange<int64_t>(2, from.ConsumeBool() ? 20 : 300);
  rule.stride = from.ConsumeIntegralInRange<int64_t>(1, rule.length);
  rule.truncate = from.ConsumeBool();
  rule.feed.beyond = from.ConsumeBool();
  rule.feed.bos = from.PickValueInArray({Bos::none, Bos::start, Bos::replace, Bos::every});
  if (rule.feed.beyond && rule.feed.bos == Bos::every) rule.feed.bos = Bos::none;  // which WindowRule refuses
  rule.score = from.PickValueInArray({Score::all, Score::window, Score::second_half});
  rule.tail = from.PickValueInArray({Tail::keep, Tail::drop, Tail::fill, Tail::longlora});
  if (rule.tail == Tail::longlora && rule.score != Score::window) rule.tail = Tail::keep;
  return rule;
}

/// Whether the rule scores this token of a document of so many tokens, given that it scores every token once.
bool is_scored(int64_t token, int64_t tokens, int64_t capacity, const WindowRule& rule) {
  const int64_t end = rule.truncate ? std::min(tokens, capacity) : tokens;
  return token < end && (token > 0 || rule.feed.added() > 0);
}

}  // namespace

void fuzz_one(std::string_view input) {
  FuzzedDataProvider from(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  const WindowRule rule = rule_of(from);
  const int64_t capacity = rule.length - rule.feed.added() + (rule.feed.beyond ? 1 : 0);
  std::vector<int64_t> documents;
  while (documents.size() < 5 && from.remaining_bytes() > 0)
    documents.push_back(from.ConsumeIntegralInRange<int64_t>(0, 700));
  std::vector<std::vector<int>> hits;
  for (const int64_t tokens : documents) hits.emplace_back(tokens);

  int64_t before = 0;
  const std::vector<Window> windows = windows_of(documents, rule);
  for (const Window& window : windows) {
    must(window.document >= before && window.document < std::ssize(documents), "windows in the order of documents");
    before = window.document;
    auto& hit = hits[static_cast<std::size_t>(window.document)];
    must(window.begin >= 0 && window.begin < window.end && window.end <= std::ssize(hit),
         "a window outside its document");
    must(window.end - window.begin <= capacity, "a window that is too long");
    must(window.scored >= 1 && window.scored <= window.end - window.begin, "how many tokens are scored");
    must(window.end - window.begin - window.scored + rule.feed.added() >= 1, "a scored token without one before it");
    must(rule.tail != Tail::drop || window.end - window.begin == capacity, "a short window where they are dropped");
    const int64_t seen = tokens_seen(window, rule.feed);
    must(seen >= 1 && seen <= rule.length && seen <= longest_seen(windows, rule.feed), "what the model sees");
    for (int64_t token = window.end - window.scored; token < window.end; ++token)
      ++hit[static_cast<std::size_t>(token)];
  }
  if (rule.score != Score::all) return;
  for (const auto& hit : hits) {
    for (std::size_t token = 0; token < hit.size(); ++token) {
      const bool wanted = is_scored(static_cast<int64_t>(token), std::ssize(hit), capacity, rule);
      must(hit[token] <= static_cast<int>(wanted), "a token that is scored twice or must not be");
      must(rule.tail == Tail::drop || hit[token] == static_cast<int>(wanted), "a token that no window scores");
    }
  }
}

}  // namespace qroar
