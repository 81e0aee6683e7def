// RTN by hand-computed groups, one for each convention, and the layout of groups.
#include "ops/rtn.h"

#include "config/config.h"
#include "quant/quantizer.h"
#include "quant/rules.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

using ops::RtnGrid;
using ops::RtnZero;

std::vector<float> quantized(std::vector<float> row, const RtnGrid& grid, int64_t group = 0) {
  const auto columns = static_cast<int64_t>(row.size());
  const at::Tensor out = ops::rtn_fake_quant(at::tensor(row, at::kFloat).view({1, columns}), group, grid);
  return {out.const_data_ptr<float>(), out.const_data_ptr<float>() + columns};
}

using Values = std::vector<float>;

}  // namespace

TEST_CASE("asymmetric RTN puts a group that spans zero on its grid, ties to even") {
  // lo = -1, hi = 2, 2 bits: scale 1, zero 1; 0.5 is a tie and goes to 0, 1.5 is a tie and goes to 2.
  for (const auto zero : {RtnZero::plain, RtnZero::awq, RtnZero::included}) {
    CHECK(quantized({-1, 0.5f, 1.5f, 2}, {2, false, zero}) == Values{-1, 0, 2, 2});
  }
}

TEST_CASE("a group on one side of zero: plain keeps it, awq saturates, included widens the range") {
  // lo = 4, hi = 7, 2 bits: scale 1, zero -4.
  CHECK(quantized({4, 5, 6, 7}, {2, false, RtnZero::plain}) == Values{4, 5, 6, 7});
  // zero clamped to 0: codes clamp at 3.
  CHECK(quantized({4, 5, 6, 7}, {2, false, RtnZero::awq}) == Values{3, 3, 3, 3});
  // lo becomes 0: scale 7/3; 4 -> round(1.714) = 2, 5 -> 2, 6 -> round(2.571) = 3, 7 -> 3.
  const float scale = 7.0f / 3.0f;
  CHECK(quantized({4, 5, 6, 7}, {2, false, RtnZero::included}) == Values{2 * scale, 2 * scale, 3 * scale, 3 * scale});
}

TEST_CASE(
    "a constant group: plain keeps its value exactly, included keeps it as an end of the range, awq has its floor of "
    "1e-5") {
  CHECK(quantized({0.3f, 0.3f}, {4, false, RtnZero::plain}) == Values{0.3f, 0.3f});
  CHECK(quantized({-0.3f, -0.3f}, {4, false, RtnZero::plain}) == Values{-0.3f, -0.3f});
  const float included = 15 * (0.3f / 15.0f);
  CHECK(quantized({0.3f, 0.3f}, {4, false, RtnZero::included}) == Values{included, included});
  // scale = 1e-5 / 15, zero = -round(0.3 / scale) clamped to 0, code clamped to 15.
  const float awq = 15 * (1e-5f / 15.0f);
  CHECK(quantized({0.3f, 0.3f}, {4, false, RtnZero::awq}) == Values{awq, awq});
}

TEST_CASE("symmetric RTN: max / (2^(bits-1) - 1) as in AWQ, 2 max / (2^bits - 1) as in GPTQ") {
  // 3 bits: scale 3 / 3 = 1.
  CHECK(quantized({-3, -0.4f, 0.6f, 2.5f}, {3, true, RtnZero::plain}) == Values{-3, 0, 1, 2});
  CHECK(quantized({-3, -0.4f, 0.6f, 2.5f}, {3, true, RtnZero::awq}) == Values{-3, 0, 1, 2});
  // scale 7 * 2 / 7 = 2, zero 4: -7 -> round(-3.5) = -4, 7 -> round(3.5) + 4 = 8 clamped to 7 -> 3 steps.
  CHECK(quantized({-7, 1.5f, 7}, {3, true, RtnZero::included}) == Values{-8, 2, 6});
}

TEST_CASE("clip shrinks a group's range before its grid is made, and what lies beyond takes an end of the grid") {
  // Halves are exact, so every number is.  lo, hi = -2, 4 become -1, 2; 2 bits: scale 1, zero 1.
  for (const auto zero : {RtnZero::plain, RtnZero::awq, RtnZero::included}) {
    CHECK(quantized({-2, 0.25f, 1.25f, 4}, {2, false, zero, 0.5f}) == Values{-1, 0, 1, 2});
  }
  // On one side of zero, lo, hi = 2, 8 become 1, 4: plain has scale 1 and zero -1; included goes from 0 to 4, and awq
  // clamps the zero to 0, so that its codes end at 3.
  CHECK(quantized({2, 3, 8}, {2, false, RtnZero::plain, 0.5f}) == Values{2, 3, 4});
  CHECK(quantized({2, 3, 8}, {2, false, RtnZero::awq, 0.5f}) == Values{2, 3, 3});
  const float scale = 4.0f / 3.0f;
  CHECK(quantized({2, 3, 8}, {2, false, RtnZero::included, 0.5f}) == Values{2 * scale, 2 * scale, 3 * scale});
  // Symmetric, 3 bits: m = 6 becomes 3, scale 1, codes -4..3: the negative end has one more.
  CHECK(quantized({-6, -3.5f, 0.4f, 5}, {3, true, RtnZero::plain, 0.5f}) == Values{-4, -4, 0, 3});
  CHECK(quantized({-6, -3.5f, 0.4f, 5}, {3, true, RtnZero::awq, 0.5f}) == Values{-4, -4, 0, 3});
  // m = 14 becomes 7, scale 2 * 7 / 7 = 2, zero 4: codes 0..7 are -8..6.
  CHECK(quantized({-14, 2.5f, 14}, {3, true, RtnZero::included, 0.5f}) == Values{-8, 2, 6});
}

TEST_CASE("AWQ's grids have steps for ranges down to 1e-5 and none below") {
  for (const bool symmetric : {false, true}) {
    const RtnGrid grid{4, symmetric, RtnZero::awq};
    const float range = symmetric ? 7e-5f : 15e-5f;
    const Values on_grid{0, range / (symmetric ? 7 : 15), range}, found = quantized(on_grid, grid);
    for (std::size_t i = 0; i < 3; ++i) CHECK(found[i] == Approx(on_grid[i]).epsilon(1e-5));
    CHECK(quantized({0, 1e-8f, 2e-8f}, grid) == Values{0, 0, 0});
  }
}

TEST_CASE("clip 1 changes no bit, and a group of zeros stays zero whatever the clip") {
  at::manual_seed(2);
  const at::Tensor weight = at::randn({16, 64});
  for (const bool symmetric : {false, true}) {
    for (const auto zero : {RtnZero::plain, RtnZero::awq, RtnZero::included}) {
      CHECK(at::equal(ops::rtn_fake_quant(weight, 32, {4, symmetric, zero, 1}),
                      ops::rtn_fake_quant(weight, 32, {4, symmetric, zero})));
      CHECK_FALSE(at::equal(ops::rtn_fake_quant(weight, 32, {4, symmetric, zero, 0.9f}),
                            ops::rtn_fake_quant(weight, 32, {4, symmetric, zero})));
      CHECK(quantized({0, 0}, {4, symmetric, zero, 0.9f}) == Values{0, 0});
    }
  }
}

TEST_CASE("groups run along the inputs; 0 is one group a row and -1 one over the tensor") {
  const at::Tensor weight = at::tensor({0.f, 3.f, 0.f, 30.f, 0.f, 6.f, 0.f, 60.f}).view({2, 4}) + 0.2;
  const RtnGrid grid{2, false, RtnZero::plain};
  const at::Tensor by_two = ops::rtn_fake_quant(weight, 2, grid);
  for (int64_t row : {0, 1}) {
    for (int64_t group : {0, 1}) {
      const at::Tensor part = weight.slice(0, row, row + 1).slice(1, 2 * group, 2 * group + 2).contiguous();
      CHECK(at::equal(by_two.slice(0, row, row + 1).slice(1, 2 * group, 2 * group + 2),
                      ops::rtn_fake_quant(part, 0, grid)));
    }
  }
  CHECK(at::equal(ops::rtn_fake_quant(weight, 0, grid), ops::rtn_fake_quant(weight, 4, grid)));
  CHECK(
      at::equal(ops::rtn_fake_quant(weight, -1, grid), ops::rtn_fake_quant(weight.view({1, 8}), 0, grid).view({2, 4})));
}

TEST_CASE("on a group that spans zero the error is at most half a step, for every width and convention") {
  at::manual_seed(1);
  const at::Tensor weight = at::randn({64, 128});
  for (int bits = 2; bits <= 8; ++bits) {
    for (const auto zero : {RtnZero::plain, RtnZero::awq, RtnZero::included}) {
      const at::Tensor groups = weight.view({-1, 32});
      const at::Tensor step = (groups.amax(1) - groups.amin(1)) / ((1 << bits) - 1);
      const at::Tensor error =
          (ops::rtn_fake_quant(weight, 32, {bits, false, zero}) - weight).abs().view({-1, 32}).amax(1);
      // Rounding the zero point shifts the grid by up to half a step, so an end of the range may lie one step off.
      CHECK((error <= 1.0001 * step).all().item<bool>());
      CHECK(at::mean(error / step).item<double>() < 0.7);
    }
  }
}

TEST_CASE("a NaN weight makes its group NaN and no other") {
  at::Tensor weight = at::ones({2, 8});
  weight[0][5] = std::nan("");
  const at::Tensor out = ops::rtn_fake_quant(weight, 4, {4, false, RtnZero::plain});
  CHECK(out.isnan().sum().item<int64_t>() == 4);
  CHECK(out[0].slice(0, 4, 8).isnan().all().item<bool>());
}

TEST_CASE(
    "RTN's keys are checked with their place, and a group that does not divide names the layer and sizes that do") {
  const auto build = [](const std::string& yaml) {
    return Registry<Quantizer>::instance().build(Config::parse(yaml, "q.yaml"));
  };
  CHECK(contains(error_text([&] { build("{type: rtn, bits: 9}"); }), "q.yaml:1:"));
  CHECK(contains(error_text([&] { build("{type: rtn, bits: 9}"); }), "bits"));
  CHECK(contains(error_text([&] { build("{type: rtn, zero: gptq}"); }), "awq, included"));
  CHECK(contains(error_text([&] { build("{type: rtm}"); }), "did you mean 'rtn'"));
  CHECK(contains(error_text([&] { build("{type: rtn, clip: 0}"); }), "q.yaml:1:19: clip: must be above 0"));
  CHECK(contains(error_text([&] { build("{type: rtn, clip: 1.1}"); }), "q.yaml:1:19: clip:"));
  const std::string text = error_text([&] {
    build("{type: rtn, group: 128}")->check_site({"layers.3.mlp.up_proj", 1536, 576});
  });
  CHECK(contains(text, "group 128 does not divide the 576 inputs of layers.3.mlp.up_proj"));
  CHECK(contains(text, "16, 32, 64"));
  CHECK(build("{type: rtn, bits: 4, group: 64}")->bits_per_weight({"x", 64, 64}) == Approx(4 + 20.0 / 64));
}

TEST_CASE("the last matching rule decides, lm_head needs its name, and a rule that matches nothing is an error") {
  LlamaConfig config;
  config.num_hidden_layers = 2;
  config.num_attention_heads = config.num_key_value_heads = 2;
  config.head_dim = 32;
  config.hidden_size = config.intermediate_size = config.vocab_size = 64;
  const auto sites = linear_sites(config);
  REQUIRE(sites.size() == 15);
  const auto rules = [&](const std::string& yaml) {
    return QuantRules(Config::parse("quant: " + yaml, "q.yaml").items("quant"));
  };
  const QuantRules two =
      rules("[{match: '*', weight: {type: rtn, group: 64}}, {match: 'layers.1.*', weight: {type: none}}]");
  two.check_against(sites);
  CHECK(two.weight_quantizer("lm_head") == nullptr);
  CHECK(two.weight_quantizer("layers.0.mlp.up_proj") != two.weight_quantizer("layers.1.mlp.up_proj"));
  CHECK(rules("[{match: lm_head, weight: {type: rtn}}]").weight_quantizer("lm_head") != nullptr);
  const std::string text = error_text([&] { rules("[{match: 'layer.*', weight: {type: rtn}}]").check_against(sites); });
  CHECK(contains(text, "q.yaml:1:17"));
  CHECK(contains(text, "'layer.*' matches no layer"));
  CHECK(contains(error_text([&] { rules("[{match: 'layers.{0,1.*', weight: {type: rtn}}]"); }), "braces"));
}

TEST_CASE("globs match whole names") {
  CHECK(glob_matches("layers.*.{self_attn,mlp}.*", "layers.11.mlp.up_proj"));
  CHECK(glob_matches("layers.?.self_attn.{q,k}_proj", "layers.3.self_attn.k_proj"));
  CHECK_FALSE(glob_matches("layers.?.self_attn.{q,k}_proj", "layers.13.self_attn.k_proj"));
  CHECK_FALSE(glob_matches("layers.1", "layers.10"));
  CHECK(glob_matches("*", ""));
}

TEST_CASE("many stars take no time that doubles with each, and many braces are refused") {
  std::string stars, braces;
  for (int i = 0; i < 60; ++i) {
    stars += "*a";
    braces += "{a,b}";
  }
  CHECK_FALSE(glob_matches(stars + "c", std::string(200, 'a')));
  CHECK(glob_matches(stars, std::string(200, 'a')));
  CHECK(contains(error_text([&] { glob_matches(braces, "a"); }), "its braces stand for more than 10000 globs"));
}

}  // namespace qroar
