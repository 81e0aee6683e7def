// The scheme `model`: what config.json asks for, applied as the scheme it names.
#include "support/catch.h"
#include "support/errors.h"
#include "support/rope.h"

using namespace qroar;

namespace {

RopeTable model_table(const Json& block, int64_t length = 32768) {
  return make_scheme("{type: model}")->table({8, 1e4, 4096, 32768, block}, length);
}

void check_same(const RopeTable& a, const std::string& yaml, int64_t trained = 4096, int64_t length = 32768) {
  CHECK(a == make_scheme(yaml)->table({8, 1e4, trained, 32768}, length));
}

}  // namespace

TEST_CASE("a model that says nothing has plain RoPE") {
  check_same(make_scheme("{type: model}")->table({8, 1e4, 4096, 32768}, 1), "{type: none}");
  check_same(model_table({{"type", "none"}}), "{type: none}");
}

TEST_CASE("a model's block is the scheme of that name") {
  check_same(model_table({{"type", "linear"}, {"factor", 4.0}}), "{type: linear, factor: 4}");
  check_same(model_table({{"type", "yarn"}, {"factor", 8}, {"beta_fast", 16}}),
             "{type: yarn, factor: 8, beta_fast: 16}");
}

TEST_CASE("the length that the model's formula takes for L0 comes before the trained length") {
  constexpr const char* kOriginal = "original_max_position_embeddings";
  check_same(model_table({{"type", "yarn"}, {"factor", 8}, {kOriginal, 2048}}), "{type: yarn, factor: 8}", 2048);
  check_same(model_table({{"type", "dynamic_ntk"}, {"factor", 2}, {kOriginal, 8192}}, 16384),
             "{type: dynamic_ntk, factor: 2}", 8192, 16384);
  check_same(model_table({{"type", "llama3"}, {"factor", 8}, {kOriginal, 2048}}), "{type: llama3, factor: 8}", 2048);
}

TEST_CASE("a bad value in config.json is an error that names it") {
  const std::string text = error_text([] { model_table({{"type", "linear"}, {"factor", 0.25}}); });
  CHECK(contains(text, "config.json's RoPE:3:"));
  CHECK(contains(text, "factor: expected auto or a number from 1 to 1000000, found 0.25"));
}
