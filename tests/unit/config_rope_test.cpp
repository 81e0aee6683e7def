// RoPE parameters of config.json in the spellings of both generations of transformers; tests/peers compares their
// tables with transformers' own.
#include "model/config_rope.h"

#include "support/catch.h"
#include "support/errors.h"

using namespace qroar;

namespace {

constexpr const char* kOriginal = "original_max_position_embeddings";

struct Found {
  ConfigRope rope;
  std::vector<std::string> warnings;
};

/// Of a model with max_position_embeddings 512.
Found read(const Json& json) {
  Found found;
  found.rope = read_rope(ConfigFields("config.json", json), 512, found.warnings);
  return found;
}

std::string error_of(const Json& json) {
  return error_text([&] { read(json); });
}

Json v4(const Json& scaling) { return {{"rope_scaling", scaling}}; }

void check_silent(const Json& json, const Json& scheme) {
  const Found found = read(json);
  CHECK(found.rope.scheme.dump() == scheme.dump());
  CHECK(found.warnings.empty());
}

void check_warned(const Json& json, const Json& scheme, const std::string& warning) {
  const Found found = read(json);
  CHECK(found.rope.scheme.dump() == scheme.dump());
  REQUIRE(found.warnings.size() == 1);
  CAPTURE(found.warnings[0]);
  CHECK(contains(found.warnings[0], warning));
}

}  // namespace

TEST_CASE("without RoPE parameters RoPE is plain") {
  const Json plain = {{"type", "none"}};
  check_silent(Json::object(), plain);
  check_silent({{"rope_scaling", nullptr}, {"rope_parameters", nullptr}}, plain);
  check_silent(v4(Json::object()), plain);
  check_silent({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}, plain);
  CHECK(read({{"rope_parameters", {{"rope_theta", 5e5}}}}).rope.theta == 5e5);
  CHECK(read({{"rope_theta", 777}}).rope.theta == 777);
  CHECK(read(Json::object()).rope.trained_length == 512);
}

TEST_CASE("both generations' dictionaries and names are read") {
  const Json linear = {{"type", "linear"}, {"factor", 2}};
  check_silent(v4({{"type", "linear"}, {"factor", 2}}), linear);
  check_silent(v4({{"rope_type", "linear"}, {"type", "linear"}, {"factor", 2}}), linear);
  check_silent({{"rope_parameters", {{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 1e4}}}}, linear);
  check_silent(v4({{"type", "dynamic"}, {"factor", 2}}), {{"type", "dynamic_ntk"}, {"factor", 2}, {kOriginal, 512}});
}

TEST_CASE("two dictionaries may say the same in other words, and nothing else") {
  Json json = v4({{"type", "linear"}, {"factor", 2}, {"rope_theta", nullptr}});
  json["rope_parameters"] = {{"factor", 2.0}, {"rope_theta", 10000.0}, {"rope_type", "linear"}};
  check_silent(json, {{"type", "linear"}, {"factor", 2}});
  json["rope_parameters"]["factor"] = 4.0;
  CHECK(contains(error_of(json), "'rope_scaling' and 'rope_parameters' differ; keep one of them"));
  json["rope_parameters"]["factor"] = 2;
  json["rope_parameters"]["rope_theta"] = 5e5;
  CHECK(contains(error_of(json), "differ"));
}

TEST_CASE("the original length outside of the dictionary comes first for types that know one") {
  Json json = v4({{"type", "yarn"}, {"factor", 4.0}, {kOriginal, 128.0}});
  check_silent(json, {{"type", "yarn"}, {"factor", 4.0}, {kOriginal, 128}});
  json[kOriginal] = 256;
  check_warned(json, {{"type", "yarn"}, {"factor", 4.0}, {kOriginal, 256}},
               "original_max_position_embeddings is 256 and 128 among the RoPE parameters; the former counts");
  CHECK(read(json).rope.trained_length == 256);
}

TEST_CASE("dynamic RoPE takes max_position_embeddings whatever the original length") {
  check_warned(v4({{"type", "dynamic"}, {"factor", 2}, {kOriginal, 128}}),
               {{"type", "dynamic_ntk"}, {"factor", 2}, {kOriginal, 512}},
               "dynamic RoPE takes max_position_embeddings");
  CHECK(read(v4({{"type", "dynamic"}, {"factor", 2}, {kOriginal, 128}})).rope.trained_length == 128);
}

TEST_CASE("yarn's absent, null and zero keys are those of transformers") {
  const auto yarn = [](Json more) {
    Json scaling = {{"type", "yarn"}, {"factor", 4.0}, {kOriginal, 128}};
    scaling.update(more);
    return read(v4(scaling)).rope.scheme;
  };
  const Json plain = yarn(Json::object());
  for (const Json& same :
       {Json{{"beta_fast", 0}}, Json{{"beta_slow", nullptr}}, Json{{"attention_factor", nullptr}},
        Json{{"mscale", 0.7}}, Json{{"mscale_all_dim", 0.7}}, Json{{"mscale", 0.7}, {"mscale_all_dim", 0}}}) {
    CAPTURE(same.dump());
    CHECK(yarn(same).dump() == plain.dump());
  }
  CHECK(yarn({{"truncate", nullptr}})["truncate"] == false);
  CHECK(yarn({{"mscale", 0.7}, {"mscale_all_dim", 0.5}})["mscale_all_dim"] == 0.5);
  CHECK(yarn({{"attention_factor", 1}, {"mscale", 0.7}, {"mscale_all_dim", 0.5}}).contains("mscale") == false);
  CHECK(yarn({{"factor", nullptr}})["factor"] == 4.0);
}

TEST_CASE("longrope's factor is the quotient of the lengths, at least 1, where none is given") {
  const Json lists = {{"short_factor", {1, 1}}, {"long_factor", {1, 2}}};
  Json scaling = {{"type", "longrope"}};
  scaling.update(lists);
  Json json = v4(scaling);
  CHECK(read(json).rope.scheme["factor"] == 1.0);
  json[kOriginal] = 128;
  CHECK(read(json).rope.scheme["factor"] == 4.0);
  json[kOriginal] = 2048;
  CHECK(read(json).rope.scheme["factor"] == 1.0);
  json["rope_scaling"]["type"] = "su";
  CHECK(read(json).rope.scheme["type"] == "longrope");
}

TEST_CASE("keys that a type needs are asked for") {
  CHECK(contains(error_of(v4({{"type", "linear"}})), "rope_scaling: missing field 'factor'"));
  CHECK(contains(error_of(v4({{"type", "yarn"}, {kOriginal, 128}})), "missing field 'factor'"));
  CHECK(contains(error_of(v4({{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}})), "'high_freq_factor'"));
  CHECK(contains(error_of(v4({{"type", "longrope"}, {"long_factor", {1}}})), "missing field 'short_factor'"));
}

TEST_CASE("what cannot be read is refused") {
  CHECK(error_of({{"rope_parameters", {{"rope_type", "proportional"}}}}) ==
        "config.json: rope_parameters: unknown rope_type \"proportional\"; known are default, dynamic, linear, llama3, "
        "longrope, su, yarn; or name a scheme in the experiment's `rope`");
  CHECK(contains(error_of(v4({{"rope_type", nullptr}, {"type", "linear"}})), "unknown rope_type null"));
  CHECK(contains(error_of({{"rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}}}), "by layer type"));
  CHECK(contains(error_of(v4({{"type", "yarn"}, {"factor", 2}, {kOriginal, 128.5}})), "is 128.5; expected an integer"));
  CHECK(contains(error_of({{"rope_parameters", {{"partial_rotary_factor", 1.5}}}}),
                 "is 1.5; expected a number above 0 and up to 1"));
  CHECK(contains(error_of({{"rope_scaling", "yarn"}}), "field 'rope_scaling' is \"yarn\"; expected an object"));
}

TEST_CASE("what is guessed is said") {
  check_warned(v4({{"factor", 2.0}}), {{"type", "none"}}, "RoPE parameters without a rope_type: plain RoPE");
  check_warned(v4({{"rope_type", "linear"}, {"type", "dynamic"}, {"factor", 2}}), {{"type", "linear"}, {"factor", 2}},
               "rope_type is \"linear\" and type \"dynamic\"; the former counts");
  check_warned(v4({{"type", "linear"}, {"factor", 2}, {"finetuned", true}}), {{"type", "linear"}, {"factor", 2}},
               "RoPE parameter 'finetuned' is not used");
  Json json = v4({{"type", "linear"}, {"factor", 2}, {"rope_theta", 5e5}});
  json["rope_theta"] = 1e4;
  check_warned(json, {{"type", "linear"}, {"factor", 2}}, "rope_theta is 10000 and 500000 among the RoPE parameters");
  CHECK(read(json).rope.theta == 5e5);
}
