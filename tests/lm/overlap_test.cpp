// Texts with a piece in common, at any place of either.
#include "run/overlap.h"

#include <numeric>
#include <random>

#include "support/catch.h"

using namespace qroar;

namespace {

std::vector<int32_t> random_tokens(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 32000);
  return tokens;
}

/// `text` with `count` tokens of `other` from `from` on put at `at`.
std::vector<int32_t> with_piece(std::vector<int32_t> text, std::ptrdiff_t at, const std::vector<int32_t>& other,
                                std::ptrdiff_t from, std::ptrdiff_t count) {
  std::copy(other.begin() + from, other.begin() + from + count, text.begin() + at);
  return text;
}

}  // namespace

TEST_CASE("64 tokens in common are found wherever they stand, and 63 are not") {
  const auto a = random_tokens(3000, 1), other = random_tokens(3000, 2);
  for (const std::ptrdiff_t at : {0, 1, 1234, 2936}) {
    for (const std::ptrdiff_t from : {0, 777, 2936}) {
      const auto b = with_piece(other, at, a, from, 64), less = with_piece(other, at, a, from, 63);
      const auto found = common_run({{"a", a}}, {{"c", random_tokens(500, 3)}, {"b", b}});
      REQUIRE(found);
      CHECK(found->first == "a");
      CHECK(found->second == "b");
      CHECK(found->place == at);
      CHECK(!common_run({{"a", a}}, {{"b", less}}));
    }
  }
}

TEST_CASE("short texts and texts without anything in common have no common run") {
  const auto a = random_tokens(63, 1);
  CHECK(!common_run({{"a", a}}, {{"b", a}}));
  CHECK(!common_run({}, {{"b", random_tokens(100, 1)}}));
  CHECK(!common_run({{"a", random_tokens(20000, 4)}}, {{"b", random_tokens(20000, 5)}}));
}

TEST_CASE("repeated tokens are a run like any other") {
  const std::vector<int32_t> zeros(200, 0), ones(200, 1);
  CHECK(common_run({{"a", zeros}}, {{"b", zeros}}));
  CHECK(!common_run({{"a", zeros}}, {{"b", ones}}));
}
