// What single schemes do beyond the golden numbers and the conformance tests, and every error they give.
#include <cmath>

#include "support/catch.h"
#include "support/errors.h"
#include "support/rope.h"
#include "support/scratch.h"

using namespace qroar;

namespace {

const RopeGeometry kSmall{8, 1e4, 4096, 32768};

RopeTable table_of(const std::string& yaml, const RopeGeometry& geometry = kSmall, int64_t length = 32768) {
  return make_scheme(yaml)->table(geometry, length);
}

std::string error_of(const std::string& yaml, const RopeGeometry& geometry = kSmall) {
  return error_text([&] { table_of(yaml, geometry); });
}

void check_same(const RopeTable& a, const RopeTable& b) {
  CHECK(a.inv_freq == b.inv_freq);
  CHECK(a.attention_factor == b.attention_factor);
}

}  // namespace

TEST_CASE("linear divides every frequency by the factor") {
  const std::vector<double> inv_freq = table_of("{type: linear, factor: 4}").inv_freq;
  const std::vector<double> expected = {0.25, 0.025, 0.0025, 0.00025};
  for (std::size_t i = 0; i < 4; ++i) CHECK(inv_freq[i] == Approx(expected[i]).epsilon(1e-14));
}

TEST_CASE("ntk keeps the first pair and divides the last one by the factor") {
  const std::vector<double> inv_freq = table_of("{type: ntk, factor: 4}").inv_freq;
  CHECK(inv_freq.front() == 1.0);
  CHECK(inv_freq.back() == Approx(0.00025).epsilon(1e-12));
}

TEST_CASE("factor auto is target over trained length and never below 1") {
  check_same(table_of("{type: linear, factor: auto}"), table_of("{type: linear, factor: 8}"));
  const RopeGeometry shorter{8, 1e4, 4096, 512};
  check_same(table_of("{type: yarn, factor: auto}", shorter), table_of("{type: none}", shorter));
}

TEST_CASE("a factor that is missing, out of range or no number is an error at its place") {
  CHECK(error_of("{type: linear}") == "test.yaml:1:1: factor: missing");
  for (const std::string bad : {"0.5", "-2", "0", "1e7", "nan", "inf", "automatic", "[2]"}) {
    const std::string text = error_of("{type: linear, factor: " + bad + "}");
    CAPTURE(bad, text);
    CHECK(contains(text, "test.yaml:1:24: factor: expected auto or a number from 1 to 1000000, found "));
  }
  CHECK(contains(error_of("{type: dynamic_ntk, factor: 0.5}"), "expected auto or a number from 1"));
}

TEST_CASE("a head that does not fall into pairs and a base of 1 are errors") {
  CHECK(contains(error_of("{type: none}", {7, 1e4, 4096, 4096}), "head_dim must be even and positive, found 7"));
  CHECK(contains(error_of("{type: none}", {8, 1, 4096, 4096}), "the base of RoPE must be above 1, found 1"));
  CHECK(contains(error_of("{type: ntk, factor: 2}", {2, 1e4, 4096, 4096}), "head_dim of at least 4, found 2"));
}

TEST_CASE("dynamic schemes are plain up to the trained length and follow the length beyond it") {
  for (int64_t length : {1, 4095, 4096}) {
    check_same(table_of("{type: dynamic_ntk}", kSmall, length), table_of("{type: none}"));
    check_same(table_of("{type: dynamic_yarn}", kSmall, length), table_of("{type: none}"));
  }
  check_same(table_of("{type: dynamic_ntk}", kSmall, 16384), table_of("{type: ntk, factor: 4}"));
  check_same(table_of("{type: dynamic_yarn, ramp: rotations}", kSmall, 16384),
             table_of("{type: yarn, factor: 4, ramp: rotations}"));
  check_same(table_of("{type: dynamic_yarn, factor: 8}", kSmall, 16384), table_of("{type: yarn, factor: 8}"));
  check_same(table_of("{type: dynamic_yarn, factor: 2}", kSmall, 16384), table_of("{type: yarn, factor: 4}"));
}

TEST_CASE("ntk_by_parts is YaRN with attention factor 1") {
  const RopeTable parts = table_of("{type: ntk_by_parts, factor: 8, beta_fast: 16}", llama2_geometry());
  const RopeTable yarn = table_of("{type: yarn, factor: 8, beta_fast: 16}", llama2_geometry());
  CHECK(parts.inv_freq == yarn.inv_freq);
  CHECK(parts.attention_factor == 1.0);
  CHECK(yarn.attention_factor == Approx(0.1 * std::log(8.0) + 1).epsilon(1e-15));
}

TEST_CASE("without truncation the index ramp starts and ends between pairs") {
  const std::vector<double> plain = base_frequencies(128, 1e4);
  const auto share = [&](const std::string& yaml, std::size_t pair) {
    return table_of(yaml, llama2_geometry()).inv_freq[pair] / plain[pair];
  };
  // Ends 20.944482 and 45.026881 instead of 20 and 46 (docs/method.md 2.5): 1 - (7/8) (21 - 20.944482) / 24.082399.
  CHECK(share("{type: yarn, factor: 8, truncate: false}", 21) == Approx(0.997983).margin(1e-6));
  CHECK(share("{type: yarn, factor: 8, truncate: true}", 21) == Approx(0.966346).margin(1e-6));
}

TEST_CASE("an index ramp may end behind the last pair") {
  // 64 ln(8192 / 64 pi) / ln 100 = 51.5 and 64 ln(8192 / 2 pi) / ln 100 = 99.7, which only 127 would cut: a ramp from
  // 51 to 100, of which the last pair is at 12 / 49.
  const std::vector<double> yarn = table_of("{type: yarn, factor: 4}", {128, 100, 8192, 32768}).inv_freq;
  CHECK(yarn[63] == Approx(base_frequencies(128, 100)[63] * (1 - 0.75 * 12 / 49)).epsilon(1e-14));
}

TEST_CASE("an empty or reversed index ramp is a step and not turned round") {
  const std::vector<double> plain = base_frequencies(128, 1e4);
  const std::vector<double> tiny = table_of("{type: ntk_by_parts, factor: 8}", {128, 1e4, 4, 32}).inv_freq;
  for (std::size_t i = 1; i < 64; ++i) CHECK(tiny[i] == Approx(plain[i] / 8).epsilon(1e-14));
  const RopeGeometry huge{128, 1e4, int64_t{1} << 50, int64_t{1} << 53};
  CHECK(table_of("{type: ntk_by_parts, factor: 8}", huge).inv_freq == plain);
}

TEST_CASE("the ramp's keys are checked") {
  CHECK(contains(error_of("{type: yarn, factor: 8, beta_fast: 1, beta_slow: 32}"),
                 "beta_fast (1) must be above beta_slow (32)"));
  CHECK(contains(error_of("{type: yarn, factor: 8, beta_slow: 0}"), "beta_slow"));
  CHECK(contains(error_of("{type: yarn, factor: 8, ramp: rotation}"), "rotations"));
  CHECK(contains(error_of("{type: yarn, factor: 8, ramp: rotations, truncate: true}"), "truncate"));
}

TEST_CASE("YaRN's attention factor can be given or made of mscale and mscale_all_dim") {
  CHECK(table_of("{type: yarn, factor: 8, attention_factor: 1.5}").attention_factor == 1.5);
  const double step = 0.1 * std::log(8.0);
  CHECK(table_of("{type: yarn, factor: 8, mscale: 2, mscale_all_dim: 0.5}").attention_factor ==
        Approx((2 * step + 1) / (0.5 * step + 1)).epsilon(1e-15));
  CHECK(table_of("{type: yarn, factor: 8, mscale: 1, mscale_all_dim: 1}").attention_factor == 1.0);
  CHECK(contains(error_of("{type: yarn, factor: 8, mscale: 1}"), "mscale and mscale_all_dim go together"));
  CHECK(contains(error_of("{type: yarn, factor: 8, attention_factor: 0}"), "attention_factor"));
}

TEST_CASE("llama3 takes the original length from its key before the geometry") {
  const RopeGeometry geometry{128, 5e5, 131072, 131072};
  check_same(table_of("{type: llama3, factor: 8, original_max_position_embeddings: 8192}", geometry),
             table_of("{type: llama3, factor: 8}", llama3_geometry()));
  CHECK(contains(error_of("{type: llama3, factor: 8, low_freq_factor: 4, high_freq_factor: 4}"),
                 "high_freq_factor (4) must be above low_freq_factor (4)"));
  CHECK(contains(error_of("{type: llama3, factor: 8, original_max_position_embeddings: 0}"),
                 "original_max_position_embeddings"));
}

TEST_CASE("longrope divides by the short list up to the trained length and by the long list beyond it") {
  const std::string yaml = "{type: longrope, factor: 8, short_factor: [1, 1, 1, 2], long_factor: [1, 2, 4, 8]}";
  const std::vector<double> plain = base_frequencies(8, 1e4);
  const RopeTable at_short = table_of(yaml, kSmall, 4096);
  const RopeTable at_long = table_of(yaml, kSmall, 4097);
  CHECK(at_short.inv_freq == std::vector<double>{plain[0], plain[1], plain[2], plain[3] / 2});
  CHECK(at_long.inv_freq == std::vector<double>{plain[0], plain[1] / 2, plain[2] / 4, plain[3] / 8});
  CHECK(at_short.attention_factor == Approx(1.118034).margin(1e-6));
  CHECK(at_long.attention_factor == at_short.attention_factor);
  CHECK(table_of("{type: longrope, factor: 8, long_factor: [1, 2, 4, 8], attention_factor: 1.25}").attention_factor ==
        1.25);
}

TEST_CASE("longrope reads its lists from a JSON file or the long one from a text file") {
  const Scratch scratch;
  const auto with_file = [](const std::filesystem::path& path) {
    return fmt::format("{{type: longrope, factor: 8, factors: {}}}", path.string());
  };
  const std::string both = "{type: longrope, factor: 8, short_factor: [1, 1, 1, 2], long_factor: [1, 1.5, 4, 8]}";
  const auto json = scratch.write("f.json", R"({"short_factor": [1, 1, 1, 2], "long_factor": [1, 1.5, 4, 8.0]})");
  check_same(table_of(with_file(json), kSmall, 4096), table_of(both, kSmall, 4096));
  check_same(table_of(with_file(json)), table_of(both));
  for (const std::string text : {"1,1.5,4,8\n", "1\n1.5\r\n4e0\n8", " 1, 1.5, 4, 8 "}) {
    const auto csv = scratch.write("f.csv", text);
    check_same(table_of(with_file(csv)), table_of(both));
    CHECK(table_of(with_file(csv), kSmall, 4096).inv_freq == base_frequencies(8, 1e4));
  }
}

TEST_CASE("longrope's bad lists and files are errors") {
  CHECK(error_of("{type: longrope, factor: 8, long_factor: [1, 2, 4]}") ==
        "longrope has 3 long factors, but head_dim 8 needs 4");
  CHECK(contains(error_of("{type: longrope, factor: 8, long_factor: [1, 2, 0, 8]}"), "must be positive, found 0"));
  CHECK(contains(error_of("{type: longrope, factor: 8}"), "long_factor"));
  const Scratch scratch;
  const auto error_of_file = [&](const std::string& name, const std::string& text, const std::string& more = "") {
    return error_of(
        fmt::format("{{type: longrope, factor: 8{}, factors: {}}}", more, scratch.write(name, text).string()));
  };
  CHECK(contains(error_of_file("f.csv", "1\n2\nfour\n8"), "line 3 of the file: 'four' is no number"));
  CHECK(contains(error_of_file("f.csv", "1, 2, nan, 8"), "must be positive, found nan"));
  CHECK(contains(error_of_file("f.csv", "1, 2"), "longrope has 2 long factors"));
  CHECK(contains(error_of_file("f.json", "[1, 2]"), "f.json:1:1: is a JSON array, not an object; JSON such as"));
  CHECK(contains(error_of_file("f.json", "{\"long_factor\": [1"), "f.json:1:"));
  CHECK(contains(error_of_file("f.json", R"({"long_factor": [1, "2"]})"),
                 "'long_factor' in the file must be a list of numbers"));
  CHECK(contains(error_of_file("f.csv", "1, 2, 4, 8", ", long_factor: [1]"), "either the file 'factors' or the list"));
  CHECK(contains(error_of("{type: longrope, factor: 8, factors: /no/such/file.csv}"), "/no/such/file.csv"));
}
