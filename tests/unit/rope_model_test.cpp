// The scheme `model`: both generations of config.json's rope scaling, applied as the scheme they name.
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

#include "support/catch.h"
#include "support/errors.h"
#include "support/rope.h"

using namespace qroar;

namespace {

RopeTable model_table(const std::string& scaling, int64_t length = 32768) {
  return make_scheme("{type: model}")->table({8, 1e4, 4096, 32768, scaling}, length);
}

void check_same(const RopeTable& a, const std::string& yaml, int64_t length = 32768) {
  const RopeTable b = make_scheme(yaml)->table({8, 1e4, 4096, 32768, ""}, length);
  CHECK(a.inv_freq == b.inv_freq);
  CHECK(a.attention_factor == b.attention_factor);
}

}  // namespace

TEST_CASE("a model without rope scaling or of type default has plain RoPE") {
  check_same(model_table(""), "{type: none}");
  check_same(model_table(R"({"rope_type": "default", "rope_theta": 10000.0})"), "{type: none}");
}

TEST_CASE("each type of rope scaling in config.json becomes the scheme of the same meaning") {
  check_same(model_table(R"({"type": "linear", "factor": 4.0})"), "{type: linear, factor: 4}");
  check_same(model_table(R"({"rope_type": "linear", "factor": 4})"), "{type: linear, factor: 4}");
  check_same(model_table(R"({"type": "dynamic", "factor": 2.0})"), "{type: dynamic_ntk, factor: 2}");
  check_same(model_table(R"({"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 4096,
                             "beta_fast": 16, "attention_factor": null, "rope_theta": 10000.0})"),
             "{type: yarn, factor: 8, beta_fast: 16}");
  check_same(model_table(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 2048})"),
             "{type: llama3, factor: 8, original_max_position_embeddings: 2048}");
}

TEST_CASE("longrope and its old name su take their lists from config.json") {
  const std::string yaml = "{type: longrope, factor: 8, short_factor: [1, 1, 1, 2], long_factor: [1, 1.5, 4, 8]}";
  for (const std::string type : {"longrope", "su"}) {
    const std::string scaling =
        R"({"factor": 8.0, "long_factor": [1.0, 1.5, 4, 8], "short_factor": [1, 1, 1, 2], "type": ")" + type + "\"}";
    for (int64_t length : {4096, 8192}) check_same(model_table(scaling, length), yaml, length);
  }
}

TEST_CASE("a key of config.json that changes nothing is a warning and does not shut the model out") {
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(log)));
  const RopeTable table =
      model_table(R"({"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096, "finetuned": true})");
  spdlog::set_default_logger(before);
  check_same(table, "{type: yarn, factor: 16}");
  CHECK(contains(log.str(), "config.json: rope_scaling: 'finetuned' is not used"));
  CHECK(!contains(log.str(), "original_max_position_embeddings"));
}

TEST_CASE("an unknown type and a bad value in config.json are errors that name them") {
  CHECK(error_text([] { model_table(R"({"rope_type": "proportional"})"); }) ==
        "config.json: rope_scaling: unknown rope_type \"proportional\"; known are default, dynamic, linear, llama3, "
        "longrope, "
        "su, yarn; or name a scheme in the experiment");
  CHECK(contains(error_text([] { model_table(R"({"rope_type": 7})"); }), "unknown rope_type 7"));
  const std::string text = error_text([] { model_table(R"({"type": "linear", "factor": 0.25})"); });
  CAPTURE(text);
  CHECK(contains(text, "config.json's rope_scaling:3:"));
  CHECK(contains(text, "factor: expected auto or a number from 1 to 1000000, found 0.25"));
}
