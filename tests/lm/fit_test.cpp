// Padding and cutting of contexts, token by token.
#include "eval/fit.h"

#include "support/catch.h"

namespace qroar {
namespace {

using Tokens = std::vector<int32_t>;

Tokens counted(int32_t first, int64_t count) {
  Tokens tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(first + static_cast<int32_t>(i));
  return tokens;
}

/// A question with continuations of 3 and 1 tokens.
Choices question(int64_t context) {
  return {{{counted(100, context), counted(50, 3)}, {counted(100, context), counted(60, 1)}}};
}

TEST_CASE("the longest question that fits is padded to so many tokens, and the others with as many") {
  std::vector<Choices> questions{question(4), question(9), question(40)};
  pad(questions, counted(1, 30), 20, std::nullopt, "pad.txt");
  const Tokens padding = counted(1, 20 - (9 + 3));
  for (const std::size_t i : {0, 1}) {
    for (const TokenPair& pair : questions[i].pairs) {
      Tokens expected = padding;
      const Tokens own = question(i == 0 ? 4 : 9).pairs[0].context;
      expected.insert(expected.end(), own.begin(), own.end());
      CHECK(pair.context == expected);
    }
    CHECK(questions[i].pairs[0].continuation == counted(50, 3));
  }
  CHECK(questions[2].pairs[0].context == counted(100, 40));  // is longer
}

TEST_CASE("BOS comes before the padding and counts among its tokens") {
  std::vector<Choices> questions{question(4), question(40)};
  pad(questions, counted(1, 30), 20, 7, "pad.txt");
  Tokens expected{7};
  for (const int32_t token : counted(1, 20 - 1 - (4 + 3))) expected.push_back(token);
  for (const int32_t token : counted(100, 4)) expected.push_back(token);
  CHECK(questions[0].pairs[1].context == expected);
  CHECK(questions[1].pairs[0].context.front() == 7);
  CHECK(std::ssize(questions[1].pairs[0].context) == 41);
  std::vector<Choices> exact{question(16)};  // 16, 3 and BOS
  pad(exact, {}, 20, 7, "pad.txt");
  CHECK(std::ssize(exact[0].pairs[0].context) == 17);
}

TEST_CASE("a padding that is too short is named with what it lacks") {
  std::vector<Choices> questions{question(4)};
  CHECK_THROWS_WITH(pad(questions, counted(1, 12), 20, std::nullopt, "pad.txt"),
                    "pad.txt: has 12 tokens and 13 are needed to pad to 20");
}

TEST_CASE("a context loses its beginning where it does not fit with its own continuation") {
  Choices long_one = question(18);
  CHECK(cut(long_one, 18, "q:1"));
  CHECK(long_one.pairs[0].context == counted(102, 16));  // 16 + 3 - 1
  CHECK(long_one.pairs[1].context == counted(100, 18));  // 18 + 1 - 1
  Choices fits = question(16);
  CHECK_FALSE(cut(fits, 18, "q:1"));
  Choices full = question(1);
  CHECK_THROWS_WITH(cut(full, 2, "q:1"), "q:1: a choice has 3 tokens and the window 2");
}

}  // namespace
}  // namespace qroar
