#include "data/windows.h"

#include <algorithm>

#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

WindowRule rule_of(int64_t length, int64_t stride, bool truncate = false, bool bos = true) {
  WindowRule rule;
  rule.length = length;
  rule.stride = stride;
  rule.truncate = truncate;
  rule.feed.bos = bos ? Bos::every : Bos::none;
  return rule;
}

/// What the YaRN release's eval/perplexity.py does to one document (docs/method.md 7.5), told with tokens and labels as
/// it is there: BOS is put before every window, the labels of what was scored before are masked, and position t
/// predicts label t + 1.
std::vector<Window> yarn_windows(int64_t tokens, int64_t context, int64_t stride, bool truncate) {
  constexpr int64_t kMasked = -100;
  if (truncate) {
    tokens = std::min(tokens, context - 1);
    stride = context - 1;
  }
  std::vector<Window> windows;
  int64_t previous_end = 0;
  for (int64_t begin = 0; begin < tokens; begin += stride) {
    const int64_t end = std::min(begin + context - 1, tokens);
    std::vector<int64_t> labels = {1};
    for (int64_t token = begin; token < end; ++token) labels.push_back(token);
    const int64_t fresh = end - previous_end;
    std::fill(labels.begin(), labels.end() - fresh, kMasked);
    const int64_t scored =
        std::count_if(labels.begin() + 1, labels.end(), [](int64_t label) { return label != kMasked; });
    windows.push_back({0, begin, end, scored});
    previous_end = end;
    if (end == tokens) break;
  }
  return windows;
}

/// How often each token of one document is scored; checks on the way that windows fit and that what is scored has
/// context.
std::vector<int64_t> times_scored(int64_t tokens, const WindowRule& rule) {
  std::vector<int64_t> times(tokens, 0);
  for (const Window& window : windows_of({tokens}, rule)) {
    REQUIRE(window.begin >= 0);
    REQUIRE(window.end <= tokens);
    REQUIRE(window.end - window.begin + rule.feed.added() <= rule.length);
    REQUIRE(window.scored >= 1);
    const int64_t first_scored = window.end - window.scored;
    REQUIRE(first_scored - window.begin + rule.feed.added() >= 1);
    for (int64_t token = first_scored; token < window.end; ++token) ++times[token];
  }
  return times;
}

TEST_CASE("windows of a document of 10 tokens are the ones computed by hand") {
  // Length 5 with BOS holds 4 text tokens.
  CHECK(windows_of({10}, rule_of(5, 5)) == std::vector<Window>{{0, 0, 4, 4}, {0, 4, 8, 4}, {0, 8, 10, 2}});
  CHECK(windows_of({10}, rule_of(5, 2)) ==
        std::vector<Window>{{0, 0, 4, 4}, {0, 2, 6, 2}, {0, 4, 8, 2}, {0, 6, 10, 2}});
  CHECK(windows_of({10}, rule_of(5, 5, true)) == std::vector<Window>{{0, 0, 4, 4}});
  // Without BOS 5 text tokens; the first of a document has nothing to be predicted from.
  CHECK(windows_of({10}, rule_of(5, 5, false, false)) ==
        std::vector<Window>{{0, 0, 5, 4}, {0, 4, 9, 4}, {0, 8, 10, 1}});
  CHECK(windows_of({10}, rule_of(5, 5, true, false)) == std::vector<Window>{{0, 0, 5, 4}});
}

TEST_CASE("documents keep their order and one with nothing to score has no window") {
  CHECK(windows_of({3, 0, 1}, rule_of(8, 8)) == std::vector<Window>{{0, 0, 3, 3}, {2, 0, 1, 1}});
  CHECK(windows_of({3, 0, 1}, rule_of(8, 8, false, false)) == std::vector<Window>{{0, 0, 3, 2}});
  CHECK(windows_of({}, rule_of(8, 8)).empty());
}

TEST_CASE("with BOS and any stride the windows are those of the YaRN release") {
  for (const bool truncate : {false, true}) {
    for (int64_t length : {2, 3, 7, 16, 33, 512, 2048}) {
      for (int64_t stride : {1, 2, 5, 16, 256, 2047}) {
        if (stride > length - 1) continue;
        for (int64_t tokens : {0, 1, 2, 6, 15, 16, 17, 255, 256, 257, 511, 512, 2047, 2048, 2049, 5000}) {
          CAPTURE(truncate, length, stride, tokens);
          REQUIRE(windows_of({tokens}, rule_of(length, stride, truncate)) ==
                  yarn_windows(tokens, length, stride, truncate));
        }
      }
    }
  }
}

TEST_CASE("every target is scored exactly once, with context, in a window that fits, for all small cases") {
  for (const bool truncate : {false, true}) {
    for (const bool bos : {false, true}) {
      for (int64_t length = 2; length <= 9; ++length) {
        for (int64_t stride = 1; stride <= length; ++stride) {
          for (int64_t tokens = 0; tokens <= 30; ++tokens) {
            CAPTURE(truncate, bos, length, stride, tokens);
            const int64_t capacity = bos ? length - 1 : length;
            const int64_t covered = truncate ? std::min(tokens, capacity) : tokens;
            std::vector<int64_t> expected(tokens, 0);
            std::fill(expected.begin(), expected.begin() + covered, 1);
            if (!bos && tokens > 0) expected[0] = 0;
            REQUIRE(times_scored(tokens, rule_of(length, stride, truncate, bos)) == expected);
          }
        }
      }
    }
  }
}

TEST_CASE("a window rule is read with its defaults") {
  const WindowRule plain(Config::parse("length: 128", "w.yaml"));
  CHECK(plain.length == 128);
  CHECK(plain.stride == 128);
  CHECK_FALSE(plain.truncate);
  CHECK(plain.feed.bos == Bos::every);
  CHECK(plain.aggregate == Aggregate::tokens);

  const Config config =
      Config::parse("{length: 16, stride: 4, truncate: true, bos: false, score: all, aggregate: documents}", "w.yaml");
  const WindowRule full(config);
  check_all_read(config);
  CHECK(full.stride == 4);
  CHECK(full.truncate);
  CHECK(full.feed.bos == Bos::none);
  CHECK(full.aggregate == Aggregate::documents);
  CHECK(WindowRule(Config::parse("{length: 16, aggregate: windows}", "w.yaml")).aggregate == Aggregate::windows);
}

/// The rule of a YAML block.
WindowRule read_rule(const std::string& yaml) {
  const Config config = Config::parse(yaml, "w.yaml");
  WindowRule rule(config);
  check_all_read(config);
  return rule;
}

TEST_CASE("AWQ's blocks do not overlap, score all but their first token, and the tail is dropped") {
  const WindowRule rule = read_rule("{length: 4, bos: start, score: window, tail: drop, aggregate: windows}");
  CHECK(windows_of({11}, rule) == std::vector<Window>{{0, 0, 4, 3}, {0, 4, 8, 3}});
  CHECK(windows_of({12}, rule) == std::vector<Window>{{0, 0, 4, 3}, {0, 4, 8, 3}, {0, 8, 12, 3}});  // nothing is left
  CHECK(windows_of({3}, rule).empty());
}

TEST_CASE("llama.cpp's chunks score what comes after half of a chunk and one token") {
  const WindowRule rule = read_rule("{length: 8, bos: replace, score: second_half, tail: drop}");
  CHECK(windows_of({17}, rule) == std::vector<Window>{{0, 0, 8, 3}, {0, 8, 16, 3}});
}

TEST_CASE("LongLoRA's windows recount what overlaps, begin before length tokens are left, and lack the last") {
  const WindowRule rule =
      read_rule("{length: 4, stride: 2, bos: false, score: window, tail: longlora, aggregate: windows}");
  CHECK(windows_of({11}, rule) == std::vector<Window>{{0, 0, 4, 3}, {0, 2, 6, 3}, {0, 4, 8, 3}});
  CHECK(windows_of({10}, rule) == std::vector<Window>{{0, 0, 4, 3}, {0, 2, 6, 3}});
  CHECK(windows_of({5}, rule).empty());
}

TEST_CASE(
    "lm-evaluation-harness' rolling windows predict one token beyond what they see, the last filled from the left") {
  const WindowRule rule = read_rule("{length: 4, bos: start, targets: beyond, tail: fill}");
  CHECK(windows_of({11}, rule) == std::vector<Window>{{0, 0, 5, 4}, {0, 4, 9, 4}, {0, 6, 11, 2}});
  CHECK(windows_of({3}, rule) == std::vector<Window>{{0, 0, 3, 2}});
  for (const Window& window : windows_of({11}, rule)) CHECK(tokens_seen(window, rule.feed) == 4);
}

TEST_CASE("a last window that is scored by itself is filled from the left where that is said") {
  const WindowRule rule = read_rule("{length: 4, bos: false, score: window, tail: fill}");
  CHECK(windows_of({6}, rule) == std::vector<Window>{{0, 0, 4, 3}, {0, 2, 6, 3}});
  CHECK(windows_of({3}, rule) == std::vector<Window>{{0, 0, 3, 2}});
}

TEST_CASE("windows that are scored each by itself leave out no token unless their stride is said") {
  for (const char* yaml : {"{length: 8, score: window}", "{length: 8, score: window, bos: false}",
                           "{length: 8, score: window, bos: replace}", "{length: 8, score: window, bos: start}"}) {
    const WindowRule rule = read_rule(yaml);
    const std::vector<Window> windows = windows_of({30}, rule);
    INFO(yaml);
    CHECK(windows.front().begin == 0);
    CHECK(windows.back().end == 30);
    for (std::size_t i = 1; i < windows.size(); ++i) CHECK(windows[i].begin == windows[i - 1].end);
  }
  CHECK(read_rule("{length: 8, score: second_half}").stride == 7);
  CHECK(read_rule("{length: 8}").stride == 8);
}

TEST_CASE("windows that are scored each by itself end with the text, and longlora's tail is for them alone") {
  WindowRule rule = rule_of(6, 2, false, false);
  rule.score = Score::window;
  const std::vector<Window> windows = windows_of({10}, rule);
  REQUIRE(windows.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(windows[i].begin == 2 * static_cast<int64_t>(i));
    CHECK(windows[i].end == windows[i].begin + 6);
    CHECK(windows[i].scored == 5);
  }
  for (const char* score : {"all", "second_half"}) {
    const std::string text = fmt::format("{{length: 8, tail: longlora, score: {}}}", score);
    CHECK(contains(error_text([&] { WindowRule(Config::parse(text, "w.yaml")); }),
                   "longlora goes with score: window; with others it is keep"));
  }
}

TEST_CASE("a wrong window rule is an Error with its place") {
  const auto error = [](const char* yaml) { return error_text([&] { WindowRule{Config::parse(yaml, "w.yaml")}; }); };
  CHECK(contains(error("length: 1"), "w.yaml:1:9: length: is 1; a window needs at least 2 tokens"));
  CHECK(contains(error("stride: 4"), "length"));
  CHECK(contains(error("length: 8\nstride: 9"), "w.yaml:2:9: stride: "));
  CHECK(contains(error("length: 8\nstride: 0"), "w.yaml:2:9: stride: "));
  CHECK(contains(error("length: 8\nstride: 8\nscore: window"), "w.yaml:2:9: stride: "));  // BOS takes a place
  CHECK(contains(error("length: 8\nscore: last"), "w.yaml:2:8: score: "));
  CHECK(contains(error("length: 8\nbos: begin"), "w.yaml:2:6: bos: unknown 'begin'"));
  CHECK(contains(error("length: 8\ntargets: beyond"), "w.yaml:2:10: targets: beyond takes its first token"));
  CHECK(contains(error("length: 8\naggregate: token"), "did you mean"));
}

}  // namespace
}  // namespace qroar
