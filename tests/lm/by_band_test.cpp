// The quantizer by_band: each band's rows or channels as its own quantizer rounds them alone, and stored bits.
#include "quant/kv_cache.h"
#include "quant/plan.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/llama.h"

namespace qroar {
namespace {

std::unique_ptr<Quantizer> quantizer(const std::string& yaml) {
  const Config config = Config::parse(yaml, "q.yaml");
  auto made = Registry<Quantizer>::instance().build(config);
  check_all_read(config);
  return made;
}

QuantPlan plan(const std::string& yaml, const LlamaConfig& config = small_llama_config()) {
  return QuantPlan(Config::parse(yaml, "plan.yaml"), config);
}

constexpr const char* kCoarse = "{type: rtn, bits: 3, group: 0}";
constexpr const char* kFine = "{type: rtn, bits: 8, group: 16}";

/// Three pairs of each head of 16 channels go to the first band.
std::string by_band(const std::string& more = "") {
  return fmt::format("{{type: by_band, edges: [0, 3, 8], of: [{}, {}]{}}}", kCoarse, kFine, more);
}

}  // namespace

TEST_CASE("by_band rounds the rows of each band of every head as the band's quantizer does", "[by_band]") {
  at::manual_seed(1);
  const at::Tensor weight = at::randn({4 * 16, 64});
  const at::Tensor got = quantizer(by_band())->fake_quantize(weight);
  const at::Tensor coarse = quantizer(kCoarse)->fake_quantize(weight), fine = quantizer(kFine)->fake_quantize(weight);
  for (int64_t row = 0; row < weight.size(0); ++row) {
    CAPTURE(row);
    CHECK(at::equal(got[row], (row % 8 < 3 ? coarse : fine)[row]));
  }
  CHECK_FALSE(at::equal(coarse, fine));
}

TEST_CASE("by_band takes a group of each band out of a head's channels", "[by_band]") {
  at::manual_seed(2);
  const at::Tensor x = at::randn({10, 16});
  const at::Tensor got =
      quantizer("{type: by_band, axis: columns, edges: [0, 3, 8], of: [" + std::string(kCoarse) + ", {type: none}]}")
          ->fake_quantize(x);
  const at::Tensor own = at::tensor(std::vector<int64_t>{0, 1, 2, 8, 9, 10});
  CHECK(at::equal(got.index_select(1, own), quantizer(kCoarse)->fake_quantize(x.index_select(1, own))));
  const at::Tensor others = at::tensor(std::vector<int64_t>{3, 4, 5, 6, 7, 11, 12, 13, 14, 15});
  CHECK(at::equal(got.index_select(1, others), x.index_select(1, others)));
}

TEST_CASE("stored bits are means over weights, by layer and by band", "[by_band]") {
  CHECK(plan("{}").bits_per_weight == 16);
  CHECK(plan("quant: [{match: 'layers.*', weight: {type: rtn, bits: 4, group: 16}}]").bits_per_weight == 4 + 20. / 16);
  // q_proj of 64 rows by 64 columns: 3/8 of its rows with 3 bits and a scale and zero a row, the rest with 8 bits.
  const double q_bits = 3. / 8 * (3 + 19. / 64) + 5. / 8 * (8 + 24. / 16);
  const LlamaConfig config = small_llama_config();
  double all = 0;
  for (const LinearSite& site : linear_sites(config)) {
    if (site.name != "lm_head") all += static_cast<double>(site.rows * site.columns);
  }
  const double share = static_cast<double>(config.num_hidden_layers) * 64 * 64 / all;
  const QuantPlan mixed = plan("quant: [{match: 'layers.*.self_attn.q_proj', weight: " + by_band() + "}]");
  CHECK(mixed.bits_per_weight == Approx(16 + share * (q_bits - 16)).epsilon(1e-12));

  // Of weights that an import has rounded before, what they were stored in.
  LlamaConfig imported = config;
  imported.imported = {{"bits_per_weight", 4.25}};
  CHECK(plan("{}", imported).bits_per_weight == 4.25);
  const char* eight = "quant: [{match: 'layers.*.self_attn.k_proj', weight: {type: rtn, bits: 8, group: 16}}]";
  CHECK(plan(eight, imported).bits_per_weight == Approx(4.25 + share / 2 * (9.5 - 4.25)).epsilon(1e-12));

  CHECK(plan("{}").kv.bits_per_value() == 16);
  const QuantPlan cache = plan("kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}}");
  CHECK(cache.kv.bits_per_value() == ((4 + 20. / 16) + 16) / 2);
}

TEST_CASE("by_band is refused where there are no bands", "[by_band]") {
  const auto refusal = [](const std::string& yaml) { return error_text([&] { plan(yaml); }); };
  const auto rule = [&](const std::string& layer, const std::string& weight, const std::string& part = "weight") {
    return refusal("quant: [{match: 'layers.*." + layer + "', " + part + ": " + weight + "}]");
  };
  CHECK(rule("self_attn.k_proj", by_band()) == "(no error)");
  CHECK(contains(rule("mlp.up_proj", by_band()), "layers.0.mlp.up_proj has no bands along its rows"));
  CHECK(contains(rule("self_attn.q_proj", by_band(), "input"), "each row has the format of its band"));
  CHECK(contains(rule("self_attn.q_proj", by_band(", axis: columns")), "has no bands along its columns"));
  CHECK(contains(rule("self_attn.q_proj", "{type: by_band, edges: [0, 4], of: [{type: none}]}"),
                 "the edges end at pair 4 and head_dim 16 has 8 pairs"));
  CHECK(contains(rule("self_attn.q_proj", "{type: by_band, edges: [0, 4, 8], of: [{type: none}]}"),
                 "1 quantizers for 2 bands"));
  CHECK(contains(rule("self_attn.q_proj", "{type: by_band, edges: [0, 5, 5, 8], of: [{type: none}]}"),
                 "the band between 5 and 5 is empty"));
  CHECK(contains(rule("self_attn.q_proj", "{type: by_band, edges: [0, 8], of: [{type: gptq}]}"), "sees whole layers"));

  const std::string keys = "kv: {type: fake_quant, key: " + by_band(", axis: columns");
  CHECK(contains(refusal(keys + "}"), "group 16 does not divide the 10 inputs of kv.key"));
  const std::string plain =
      "kv: {type: fake_quant, PART: {type: by_band, axis: columns, edges: [0, 4, 8], of: [{type: "
      "fp8}, {type: none}]}";
  const auto part = [&](const std::string& name, const std::string& more) {
    return refusal(std::string(plain).replace(plain.find("PART"), 4, name) + more);
  };
  CHECK(part("key", "}") == "(no error)");
  CHECK(part("query", "}") == "(no error)");
  CHECK(contains(part("value", "}"), "kv.value has no bands"));
  CHECK(contains(part("key", ", key_axis: token}"), "kv.key has no bands"));
  CHECK(contains(part("key", "}\nrotation: {type: hadamard}"), "kv.key has no bands"));
  CHECK(part("key", ", key_rope: before}\nrotation: {type: hadamard}") == "(no error)");
  CHECK(contains(part("query", "}\nrotation: {type: hadamard}"), "kv.query has no bands"));
}

TEST_CASE("by_band is only as good as the worst of its quantizers", "[by_band]") {
  const std::string any = "{type: rtn, group: 0}", powers = "{type: mxfp4}",
                    differs = "{type: hqq, axis: 1, group: 16}";
  const LinearSite site{"layers.0.self_attn.q_proj", 64, 64, 16};
  const auto of = [](const std::string& first, const std::string& second) {
    return quantizer("{type: by_band, edges: [0, 3, 8], of: [" + first + ", " + second + "]}");
  };
  for (const auto& [other, expected] :
       {std::pair(any, RowScaling::any), {powers, RowScaling::powers_of_two}, {differs, RowScaling::differs}}) {
    CHECK(of(any, other)->commutes_with_row_scaling(site) == expected);
    CHECK(of(other, any)->commutes_with_row_scaling(site) == expected);
  }
  CHECK(of(any, powers)->keeps_zero());
  CHECK_FALSE(of(any, differs)->keeps_zero());
  CHECK(of("{type: none}", powers)->idempotent());
  CHECK_FALSE(of("{type: none}", "{type: nf4, double_quant: true}")->idempotent());
}

}  // namespace qroar
