// What an exported config.json says about RoPE: the type that says the scheme, else longrope; read back, the same
// table.
#include "rope/exported.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/rope.h"

using namespace qroar;

namespace {

constexpr int64_t kTrained = 4096;
const RopeGeometry kGeometry{8, 1e4, kTrained, 4 * kTrained};

Json exported(const std::string& yaml, const RopeGeometry& geometry = kGeometry, int64_t intended = kTrained) {
  const auto scheme = make_scheme(yaml);
  return exported_rope({*scheme, geometry, intended, [&](int64_t length) { return scheme->table(geometry, length); }});
}

Json scaling(const std::string& yaml) { return exported(yaml)["rope_scaling"]; }

/// By `change` of each table.
Json rescaled(const std::string& yaml, const std::function<void(RopeTable&)>& change) {
  const auto scheme = make_scheme(yaml);
  return exported_rope({*scheme, kGeometry, kTrained, [&](int64_t length) {
                          RopeTable table = scheme->table(kGeometry, length);
                          change(table);
                          return table;
                        }})["rope_scaling"];
}

}  // namespace

TEST_CASE("tables of two lengths are a longrope only with one attention factor, and with the second from L0 + 1 on") {
  const auto scheme = make_scheme("{type: linear, factor: 2}");
  const auto fits = [&](const std::function<void(RopeTable&, int64_t)>& change) {
    const EvaluatedRope rope(*scheme, kGeometry, kTrained, [&](int64_t length) {
      RopeTable table = scheme->table(kGeometry, length);
      change(table, length);
      return table;
    });
    return rope.fits_longrope();
  };
  CHECK(fits([](RopeTable& table, int64_t length) { table.inv_freq[1] *= length > kTrained ? 0.5 : 1; }));
  CHECK_FALSE(fits([](RopeTable& table, int64_t length) { table.attention_factor = length > kTrained ? 1.1 : 1; }));
  CHECK_FALSE(fits([](RopeTable& table, int64_t length) { table.inv_freq[1] *= length > kTrained + 1 ? 0.5 : 1; }));
}

TEST_CASE("a scheme that Hugging Face has a type for is exported in it, with numbers in place of auto") {
  CHECK(scaling("{type: linear, factor: auto}") == Json{{"rope_type", "linear"}, {"factor", 4.0}});
  CHECK(scaling("{type: dynamic_ntk, factor: 2}") == Json{{"rope_type", "dynamic"}, {"factor", 2.0}});
  CHECK(scaling("{type: yarn, factor: auto}") == Json{{"rope_type", "yarn"},
                                                      {"factor", 4.0},
                                                      {"original_max_position_embeddings", 4096},
                                                      {"beta_fast", 32.0},
                                                      {"beta_slow", 1.0},
                                                      {"truncate", true}});
  CHECK(scaling("{type: llama3, factor: 8, original_max_position_embeddings: 2048}") ==
        Json{{"rope_type", "llama3"},
             {"factor", 8.0},
             {"low_freq_factor", 1.0},
             {"high_freq_factor", 4.0},
             {"original_max_position_embeddings", 2048}});
  const Json lists = scaling("{type: longrope, factor: 8, short_factor: [1, 1, 1, 2], long_factor: [1, 1.5, 4, 8]}");
  CHECK(lists["rope_type"] == "longrope");
  CHECK(lists["short_factor"] == Json({1.0, 1.0, 1.0, 2.0}));
  CHECK(lists["long_factor"] == Json({1.0, 1.5, 4.0, 8.0}));
  CHECK(scaling("{type: longrope, factor: 8, long_factor: [1, 1.5, 4, 8]}")["short_factor"] ==
        Json({1.0, 1.0, 1.0, 1.0}));
}

TEST_CASE("plain RoPE is exported without a block, also where a scheme comes to it") {
  for (const char* yaml : {"{type: none}", "{type: linear, factor: 1}", "{type: yarn, factor: 1}",
                           "{type: llama3, factor: 1}", "{type: ntk, factor: 1}"}) {
    CAPTURE(yaml);
    CHECK_FALSE(exported(yaml).contains("rope_scaling"));
  }
  CHECK(scaling("{type: dynamic_ntk, factor: 1}")["rope_type"] == "dynamic");
}

TEST_CASE("an attention factor other than the type's own is spelled for transformers and for vLLM") {
  const Json plain = scaling("{type: yarn, factor: 4}");
  CHECK_FALSE(plain.contains("attention_factor"));
  CHECK_FALSE(plain.contains("attn_factor"));
  const double computed = 0.1 * std::log(4.0) + 1;
  for (const char* yaml :
       {"{type: yarn, factor: 4, attention_factor: 1.5}", "{type: yarn, factor: 4, mscale: 0.7, mscale_all_dim: 0.5}",
        "{type: ntk_by_parts, factor: 4}"}) {
    CAPTURE(yaml);
    const double attention = make_scheme(yaml)->table(kGeometry, 1).attention_factor;
    const Json written = scaling(yaml);
    CHECK(written["rope_type"] == "yarn");
    CHECK(written["attention_factor"] == attention);
    CHECK(written["attn_factor"].get<double>() * computed == Approx(attention).epsilon(1e-15));
  }
  const Json lists = scaling("{type: longrope, factor: 8, long_factor: [1, 1.5, 4, 8], attention_factor: 1.25}");
  for (const char* key : {"attention_factor", "short_mscale", "long_mscale"}) CHECK(lists[key] == 1.25);
}

TEST_CASE("what no type says becomes longrope with two equal lists") {
  for (const char* yaml : {"{type: ntk, factor: 4}", "{type: yarn, factor: 4, ramp: rotations}",
                           "{type: ntk_by_parts, factor: 4, ramp: rotations}"}) {
    CAPTURE(yaml);
    const Json written = scaling(yaml);
    CHECK(written["rope_type"] == "longrope");
    CHECK(written["short_factor"] == written["long_factor"]);
    CHECK(written["short_mscale"] == written["attention_factor"]);
    CHECK(written["long_mscale"] == written["attention_factor"]);
    CHECK(written["original_max_position_embeddings"] == 4096);
  }
  // 4 tokens: the ends of the ramp are reversed, which transformers would compute otherwise.
  const RopeGeometry tiny{128, 1e4, 4, 16};
  CHECK(exported("{type: yarn, factor: 4}", tiny)["rope_scaling"]["rope_type"] == "longrope");
}

TEST_CASE("a rescaled table becomes longrope, one that was left as it was keeps its type") {
  const auto slow_down = [](RopeTable& table) { table.inv_freq.back() = 0; };
  CHECK(rescaled("{type: linear, factor: 4}", slow_down)["rope_type"] == "longrope");
  CHECK(rescaled("{type: linear, factor: 4}", slow_down)["long_factor"].back() == 1e30);
  CHECK(rescaled("{type: linear, factor: 4}", [](RopeTable&) {})["rope_type"] == "linear");
  const Json lists = rescaled("{type: longrope, factor: 8, long_factor: [1, 1.5, 4, 8]}", slow_down);
  CHECK(lists["short_factor"] == Json({1.0, 1.0, 1.0, 1e30}));
  CHECK(lists["long_factor"] == Json({1.0, 1.5, 4.0, 1e30}));
}

TEST_CASE("the lengths in config.json: the windows' and the trained one, wherever the type keeps it") {
  const Json linear = exported("{type: linear, factor: 4}");
  CHECK(linear["max_position_embeddings"] == 16384);
  CHECK(linear["original_max_position_embeddings"] == 4096);
  const Json yarn = exported("{type: yarn, factor: 4}");
  CHECK(yarn["max_position_embeddings"] == 16384);
  CHECK_FALSE(yarn.contains("original_max_position_embeddings"));
  const Json dynamic = exported("{type: dynamic_ntk, factor: 4}");
  CHECK(dynamic["max_position_embeddings"] == 4096);  // where the type counts from
  CHECK_FALSE(dynamic.contains("original_max_position_embeddings"));
  const RopeGeometry short_windows{8, 1e4, kTrained, 512};
  const Json plain = exported("{type: none}", short_windows);
  CHECK(plain == Json{{"max_position_embeddings", 4096}, {"rope_theta", 1e4}});
  CHECK(exported("{type: llama3, factor: 8}", short_windows, 131072)["max_position_embeddings"] == 131072);
}

TEST_CASE("the scheme of the model's own config.json comes out again in its type") {
  Json keys{
      {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 4096}};
  Json block{{"type", "llama3"}}, scaling_of_it{{"rope_type", "llama3"}};
  block.update(keys);
  scaling_of_it.update(keys);
  const RopeGeometry geometry{8, 5e5, kTrained, 512, block};
  const Json fields = exported("{type: model}", geometry, 131072);
  CHECK(fields["rope_scaling"] == scaling_of_it);
  CHECK(fields["rope_theta"] == 5e5);
  CHECK(fields["max_position_embeddings"] == 131072);

  // Trained for 4096 by what is stated, but dynamic takes max_position_embeddings.
  const RopeGeometry dynamic{
      8, 1e4, kTrained, 512, {{"type", "dynamic_ntk"}, {"factor", 2.0}, {"original_max_position_embeddings", 8192}}};
  CHECK(exported("{type: model}", dynamic, 8192) == Json{{"max_position_embeddings", 8192},
                                                         {"rope_theta", 1e4},
                                                         {"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}},
                                                         {"original_max_position_embeddings", 4096}});
}

TEST_CASE("only a table of at most two lists and one attention factor fits longrope") {
  const auto fits = [](const std::string& yaml) {
    const auto scheme = make_scheme(yaml);
    return EvaluatedRope(*scheme, kGeometry, kTrained, [&](int64_t length) { return scheme->table(kGeometry, length); })
        .fits_longrope();
  };
  CHECK(fits("{type: ntk, factor: 4}"));
  CHECK(fits("{type: longrope, factor: 8, long_factor: [1, 1.5, 4, 8]}"));
  CHECK_FALSE(fits("{type: dynamic_ntk, factor: 1}"));
  CHECK_FALSE(fits("{type: dynamic_yarn}"));
}

TEST_CASE("a config.json whose ramp runs backwards in transformers is refused, and may be overruled by a scheme") {
  const RopeGeometry tiny{128, 1e4, 4, 16, {{"type", "yarn"}, {"factor", 4.0}}};
  CHECK(contains(error_text([&] { make_scheme("{type: model}")->table(tiny, 16); }), "ramp runs backwards"));
  CHECK(make_scheme("{type: yarn, factor: 4}")->table(tiny, 16).inv_freq.size() == 64);
}
