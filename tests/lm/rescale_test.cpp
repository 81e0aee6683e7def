// Rescalings: what they do to a model's function, and what they refuse.
#include <set>

#include "model/angles.h"
#include "rescale/band_scales.h"
#include "rescale/rescaling.h"
#include "rope/bands.h"
#include "rope/pressure.h"
#include "search/scoring.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/llama.h"
#include "support/rope.h"
#include "support/scratch.h"

namespace qroar {
namespace {

struct Kind {
  int64_t kv_heads;
  bool bias;
};

LlamaConfig config_of(const Kind& kind) {
  LlamaConfig config = small_llama_config();
  config.num_key_value_heads = kind.kv_heads;
  config.qkv_bias = config.o_bias = kind.bias;
  return config;
}

const std::vector<Kind> kKinds{{4, false}, {4, true}, {2, false}, {2, true}};

std::shared_ptr<Rescaling> rescaling(const std::string& yaml, const LlamaConfig& llama = small_llama_config()) {
  const Config config = Config::parse(yaml, "test.yaml");
  std::shared_ptr<Rescaling> made = Registry<Rescaling>::instance().build(config);
  check_all_read(config);
  made->bind(llama);
  return made;
}

BandScales scales_of(BandVariant variant, const std::vector<int64_t>& edges, int64_t layers,
                     const std::vector<double>& g) {
  BandScales scales;
  scales.layout.variant = variant;
  scales.layout.edges = edges;
  scales.layout.layers = layers;
  scales.g = g;
  return scales;
}

std::string refused(const std::string& yaml) {
  return error_text([&] { rescaling(yaml); });
}

RopeGeometry geometry_of(const LlamaConfig& config) { return config.rope_geometry(128); }

at::Tensor tokens(const LlamaConfig& config) {
  at::manual_seed(8);
  return at::randint(config.vocab_size, {24}, at::kLong);
}

at::Tensor logits_of(const Llama& model, const ops::RopeAngles& angles) {
  return logits(model, forward(model, tokens(model.config), angles));
}

Llama rescaled(const Llama& full, const std::string& yaml) {
  Llama model = full;
  rescaling(yaml, full.config)->apply(model);
  return model;
}

TEST_CASE(
    "symmetric scales leave float64 logits as they are, for MHA and GQA, with and without biases, under every scheme") {
  std::size_t tables = 0;
  for (const auto& [name, entry] : Registry<RopeScheme>::instance().entries()) {
    for (const Kind& kind : kKinds) {
      const LlamaConfig config = config_of(kind);
      const Llama full = random_llama(config, at::kDouble, 3);
      RopeTable table;
      try {
        table = make_scheme(entry.example)->table(geometry_of(config), 128);
      } catch (const Error&) {
        continue;  // an example with factors for another head_dim
      }
      ++tables;
      const ops::RopeAngles angles = rope_angles(table, 24, at::kDouble, at::kCPU, false);
      const Llama model = rescaled(full, "{type: bands, variant: symmetric, bands: 3, scales: [0.8, 1.1, 1.25]}");
      CHECK_FALSE(at::equal(model.layers[0].q_proj.weight_OI, full.layers[0].q_proj.weight_OI));
      INFO(name << " kv heads " << kind.kv_heads << " bias " << kind.bias);
      CHECK((logits_of(model, angles) - logits_of(full, angles)).abs().max().item<double>() < 1e-10);
    }
  }
  CHECK(tables >= std::size(kKinds));
}

/// Queries and keys of a layer before RoPE.
struct Seen : Observer {
  void on(std::string_view site, const at::Tensor& value) override {
    if (site.ends_with(".q_proj")) q = value.clone();
    if (site.ends_with(".k_proj")) k = value.clone();
    if (site.ends_with(".v_proj")) v = value.clone();
  }
  at::Tensor q, k, v;
};

TEST_CASE("shared and independent scales change each band's part of the attention logits, computed pair by pair") {
  for (const Kind& kind : kKinds) {
    const LlamaConfig config = config_of(kind);
    const Llama full = random_llama(config, at::kDouble, 4);
    const RopeTable table = make_scheme("{type: yarn, factor: 4}")->table(geometry_of(config), 128);
    const int64_t T = 12, pairs = config.head_dim / 2, group = 4 / kind.kv_heads;
    const ops::RopeAngles angles = rope_angles(table, T, at::kDouble, at::kCPU, false);
    at::manual_seed(1);
    const at::Tensor x_TD = at::randn({T, config.hidden_size}, at::kDouble);
    Seen seen;
    self_attention(full.layers[1], config, x_TD, angles, &seen);
    // Factors of the band's logits: the product of what queries and keys are multiplied with.
    const std::vector<std::pair<std::string, std::vector<double>>> cases{
        {"{type: bands, variant: shared, edges: [0, 3, 8], scales: [0.9, 1.2]}", {0.9 * 0.9, 1.2 * 1.2}},
        {"{type: bands, variant: independent, edges: [0, 3, 8], scales: {q: [0.9, 1.2], k: [1.1, 0.7]}}",
         {0.9 * 1.1, 1.2 * 0.7}}};
    for (const auto& [yaml, factors] : cases) {
      at::Tensor expected = at::zeros({T, 4, config.head_dim}, at::kDouble);
      for (int64_t h = 0; h < 4; ++h) {
        for (int64_t m = 0; m < T; ++m) {
          std::vector<double> logit;
          for (int64_t n = 0; n <= m; ++n) {
            double sum = 0;
            for (int64_t i = 0; i < pairs; ++i) {
              const auto at_of = [&](const at::Tensor& x, int64_t t, int64_t head, int64_t c) {
                return x[t][head][c].item<double>();
              };
              const double qa = at_of(seen.q, m, h, i), qb = at_of(seen.q, m, h, i + pairs);
              const double ka = at_of(seen.k, n, h / group, i), kb = at_of(seen.k, n, h / group, i + pairs);
              const double angle = static_cast<double>(m - n) * table.inv_freq[static_cast<std::size_t>(i)];
              const double part = std::cos(angle) * (qa * ka + qb * kb) + std::sin(angle) * (qa * kb - qb * ka);
              sum += factors[i < 3 ? 0 : 1] * part;
            }
            logit.push_back(sum * table.attention_factor * table.attention_factor / 4);  // sqrt(head_dim) = 4
          }
          const at::Tensor weight = at::softmax(at::tensor(logit, at::kDouble), 0);
          expected[m][h] = at::matmul(weight, seen.v.slice(0, 0, m + 1).select(1, h / group));
        }
      }
      const DecoderLayer& layer = full.layers[1];
      const at::Tensor out = at::linear(
          expected.reshape({T, -1}), layer.o_proj.weight_OI,
          layer.o_proj.bias_O.defined() ? layer.o_proj.bias_O : at::zeros({config.hidden_size}, at::kDouble));
      const Llama model = rescaled(full, yaml);
      CHECK((self_attention(model.layers[1], config, x_TD, angles) - out).abs().max().item<double>() < 1e-10);
    }
  }
}

TEST_CASE("independent scales are those of queries and of keys, and rows that do not turn stay as they are") {
  LlamaConfig config = small_llama_config();
  config.partial_rotary_factor = 0.5;
  const Llama full = random_llama(config, at::kDouble, 6);
  const Llama model =
      rescaled(full, "{type: bands, variant: independent, edges: [0, 1, 4], scales: {q: [2, 3], k: [5, 7]}}");
  const auto by_row = [](const Linear& scaled, const Linear& plain) {
    return (scaled.weight_OI.slice(0, 0, 16) / plain.weight_OI.slice(0, 0, 16)).mean(1);  // of the first head
  };
  const at::Tensor queries_O = by_row(model.layers[0].q_proj, full.layers[0].q_proj),
                   keys_O = by_row(model.layers[0].k_proj, full.layers[0].k_proj);
  for (int64_t row = 0; row < 16; ++row) {  // pairs are rows i and i + 4; the latter half of the head does not turn
    CHECK(queries_O[row].item<double>() == Approx(row >= 8 ? 1 : row % 4 == 0 ? 2 : 3));
    CHECK(keys_O[row].item<double>() == Approx(row >= 8 ? 1 : row % 4 == 0 ? 5 : 7));
  }
}

TEST_CASE("scales of 1 change no bit, and other layers' tensors stay shared") {
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    const Llama full = random_llama(config_of({2, true}), dtype, 5);
    const Llama same = rescaled(full, "{type: bands, bands: 4, scales: [1, 1, 1, 1]}");
    const Llama other = rescaled(full, "{type: bands, bands: 4, scales: [1, 1.1, 1, 1]}");
    CHECK(same.layers[0].q_proj.weight_OI.is_same(full.layers[0].q_proj.weight_OI));
    CHECK(at::equal(other.layers[0].q_proj.weight_OI.view({4, 2, 8, 64}).slice(2, 4, 8),
                    full.layers[0].q_proj.weight_OI.view({4, 2, 8, 64}).slice(2, 4, 8)));
    CHECK_FALSE(at::equal(other.layers[0].k_proj.bias_O, full.layers[0].k_proj.bias_O));
    CHECK(other.layers[0].v_proj.weight_OI.is_same(full.layers[0].v_proj.weight_OI));
  }
}

TEST_CASE("scales per layer scale their own layer") {
  const Llama full = random_llama(small_llama_config(), at::kDouble, 5);
  const Llama model = rescaled(full, "{type: bands, bands: 1, per_layer: true, scales: [[1], [2]]}");
  CHECK(model.layers[0].q_proj.weight_OI.is_same(full.layers[0].q_proj.weight_OI));
  CHECK(at::equal(model.layers[1].q_proj.weight_OI, full.layers[1].q_proj.weight_OI * 2));
  CHECK(at::equal(model.layers[1].k_proj.weight_OI, full.layers[1].k_proj.weight_OI * 2));
}

TEST_CASE("scales per head scale a head of keys and the queries that read it") {
  const LlamaConfig config = config_of({2, true});
  const Llama full = random_llama(config, at::kDouble, 5);
  BandScales scales = scales_of(BandVariant::independent, {0, 3, 8}, 2, {});
  scales.layout.heads = 2;
  for (int i = 0; i < 2 * 2 * 4; ++i) scales.g.push_back(1 + 0.125 * i);  // [layers, heads, q then k by band]
  Llama model = full;
  scale_bands(scales, model);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const auto check = [&](Linear DecoderLayer::*member, int64_t heads, std::size_t first) {
      const at::Tensor before = (full.layers[layer].*member).weight_OI.view({heads, 16, 64}),
                       after = (model.layers[layer].*member).weight_OI.view({heads, 16, 64}),
                       bias = (full.layers[layer].*member).bias_O.view({heads, 16});
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t channel = 0; channel < 16; ++channel) {
          const auto own =
              layer * 8 + static_cast<std::size_t>(head * 2 / heads) * 4 + first + (channel % 8 < 3 ? 0 : 1);
          CAPTURE(layer, head, channel, own);
          CHECK(at::equal(after[head][channel], before[head][channel] * scales.g[own]));
          CHECK(at::equal((model.layers[layer].*member).bias_O.view({heads, 16})[head][channel],
                          bias[head][channel] * scales.g[own]));
        }
      }
    };
    check(&DecoderLayer::q_proj, 4, 0);
    check(&DecoderLayer::k_proj, 2, 2);
  }
}

TEST_CASE("scales per head come from a file that a search wrote, for a model of as many heads") {
  const Scratch scratch;
  BandScales scales = scales_of(BandVariant::shared, {0, 8}, 1, {1.25, 0.5});
  scales.layout.heads = 2;
  const auto file = scratch.write("scales.json", to_json(scales, "").dump());
  const std::string yaml = "{type: bands, file: " + file.string() + "}";
  const LlamaConfig config = config_of({2, false});
  const Llama full = random_llama(config, at::kDouble, 5);
  Llama want = full, got = full;
  scale_bands(scales, want);
  rescaling(yaml, config)->apply(got);
  CHECK(at::equal(got.layers[1].k_proj.weight_OI, want.layers[1].k_proj.weight_OI));
  CHECK_FALSE(at::equal(got.layers[1].k_proj.weight_OI, full.layers[1].k_proj.weight_OI));
  CHECK(contains(error_text([&] {
                   rescaling(yaml, config_of({4, false}));
                 }),
                 "scales for 2 heads, and the model has 4 of keys"));
  CHECK(contains(refused("{type: bands, bands: 2, per_head: true, scales: [1, 1]}"), "a search finds such scales"));
}

TEST_CASE(
    "scaling quantized rows equals quantizing scaled rows, where the quantizer commutes, and else rows are quantized "
    "anew") {
  const LlamaConfig config = config_of({2, true});
  const Llama full = random_llama(config, at::kDouble, 6);
  const BandScales scales = scales_of(BandVariant::independent, band_edges(8, 2), 1, {0.9, 1.17, 1.05, 0.8});
  const std::vector<Document> none;
  const AnglesOf angles_of;
  const TensorMap nothing_found;
  const std::vector<std::pair<std::string, bool>> cases{{"{type: rtn, bits: 3, group: 16}", true},
                                                        {"{type: rtn, bits: 4, group: 0, symmetric: true}", true},
                                                        {"{type: nf4, block: 64}", true},
                                                        {"{type: fp8}", true},
                                                        {"{type: rtn, bits: 3, group: -1}", false},
                                                        {"{type: mxfp4}", false},
                                                        {"{type: nvfp4}", false}};
  for (const auto& [weight, commutes] : cases) {
    INFO(weight);
    const QuantPlan plan(Config::parse("quant: [{match: 'layers.*', weight: " + weight + "}]", "t.yaml"), config);
    Llama scaled = full;
    scale_bands(scales, scaled);
    const Llama anew = apply(plan, scaled, {}), quantized = apply(plan, full, {});
    const std::function<Quantized()> quantized_with_one = [&]() -> Quantized { return {quantized, nothing_found}; };
    const SearchInput input{full, plan, quantized_with_one, angles_of, none, {}};
    CHECK(commutes_with_scales(plan, full.config) == commutes);
    const Llama model = scaled_model(input, scales);
    for (std::size_t i = 0; i < 2; ++i) {
      for (const auto member : {&DecoderLayer::q_proj, &DecoderLayer::k_proj}) {
        const at::Tensor &a = (model.layers[i].*member).weight_OI, &b = (anew.layers[i].*member).weight_OI;
        CHECK((a - b).abs().max().item<double>() <= (commutes ? 1e-6 : 0) * b.abs().max().item<double>());
        CHECK(at::allclose((model.layers[i].*member).bias_O, (anew.layers[i].*member).bias_O, 1e-12));
      }
    }
  }
}

TEST_CASE("clip_low lowers the last frequencies by a cosine, or to 0") {
  const RopeTable plain = make_scheme("{type: none}")->table(geometry_of(small_llama_config()), 64);
  const Llama none;
  const auto soft = rescaling("{type: clip_low, clip_low_n: 3}")->table(plain, {}, none).inv_freq;
  const auto hard = rescaling("{type: clip_low, clip_low_n: 3, form: hard}")->table(plain, {}, none).inv_freq;
  for (std::size_t i = 0; i < 5; ++i) CHECK((soft[i] == plain.inv_freq[i] && hard[i] == plain.inv_freq[i]));
  CHECK(soft[5] == plain.inv_freq[5]);  // theta 0
  CHECK(soft[6] == Approx(0.5 * plain.inv_freq[6]));
  CHECK(soft[7] == Approx(0).margin(1e-20));
  for (std::size_t i = 5; i < 8; ++i) CHECK(hard[i] == 0);
  const auto last = rescaling("{type: clip_low, clip_low_n: 1}")->table(plain, {}, none).inv_freq;  // the cosine's end
  CHECK((last[6] == plain.inv_freq[6] && last[7] < 1e-20));
  CHECK(contains(refused("{type: clip_low, clip_low_n: 9}"), "a head has 8 pairs"));
}

TEST_CASE("pairs divides frequencies by factors that follow the rows' norms and have the factor for their mean") {
  LlamaConfig config = small_llama_config();
  config.head_dim = 4;
  config.num_attention_heads = config.num_key_value_heads = 1;
  config.num_hidden_layers = 1;
  Llama model;
  model.config = config;
  model.layers.resize(1);
  // Rows of pair 0: norms 1 and 2, 1.5 and 0.5; of pair 1: 3 and 1, 1 and 1.
  model.layers[0].q_proj.weight_OI = at::tensor({1., 3., 2., 1.}, at::kDouble).view({4, 1});
  model.layers[0].k_proj.weight_OI = at::tensor({1.5, 1., 0.5, 1.}, at::kDouble).view({4, 1});
  const RopeTable plain{{1.0, 0.1}, 1.3};
  // max: S = (2, 3), s in the ratio 2 : 3, of mean 2: 1.6 and 2.4.
  const RopeTable table = rescaling("{type: pairs, factor: 2}")->table(plain, geometry_of(config), model);
  CHECK(table.inv_freq[0] == Approx(1 / 1.6));
  CHECK(table.inv_freq[1] == Approx(0.1 / 2.4));
  CHECK(table.attention_factor == 1.3);
  // mean: S = (1.25, 1.5), in the ratio 5 : 6.
  const RopeTable mean = rescaling("{type: pairs, factor: 2, reduce: mean}")->table(plain, geometry_of(config), model);
  CHECK(mean.inv_freq[1] == Approx(0.1 / (2 * 6 / 5.5)));
}

TEST_CASE("pairs looks at the layers that RoPE turns alone") {
  LlamaConfig config = small_llama_config();
  config.layers[0].rope = false;
  Llama model = random_llama(config, at::kDouble, 6);
  const RopeTable plain = make_scheme("{type: none}")->table(geometry_of(config), 8);
  const auto table = [&] { return rescaling("{type: pairs, factor: 2}")->table(plain, geometry_of(config), model); };
  const RopeTable before = table();
  const auto larger = [](at::Tensor& weight_OI) {
    weight_OI = weight_OI.clone();
    weight_OI[3].mul_(1000);
  };
  larger(model.layers[0].q_proj.weight_OI);
  CHECK(table() == before);
  larger(model.layers[1].q_proj.weight_OI);
  CHECK_FALSE(table() == before);
}

TEST_CASE("scales per head are refused for a model whose heads share the norm that takes them") {
  LlamaConfig config = small_llama_config();
  const auto refusal = [&] {
    const Scratch scratch;
    const std::string search =
        fmt::format("{{data: {{path: {}}}, lengths: [36]}}", scratch.write("dev.jsonl", "{}").string());
    const Config bands = Config::parse("{type: bands, bands: 2, per_head: true, search: " + search + "}", "r.yaml");
    return error_text([&] { Registry<Rescaling>::instance().build(bands)->bind(config); });
  };
  CHECK(refusal() == "(no error)");
  config.qk_norm = true;
  CHECK(contains(refusal(), "all heads share the norm of queries and keys"));
}

TEST_CASE("a rescaled scheme has the evaluated frequencies, and its s leaves the rescaling's factor alone") {
  const LlamaConfig config = small_llama_config();
  const Llama full = random_llama(config, at::kDouble, 7);
  const RopeGeometry geometry = geometry_of(config);
  const auto linear = make_scheme("{type: linear, factor: 2}");
  for (const char* yaml : {"{type: pairs, factor: 4}", "{type: clip_low, clip_low_n: 3}"}) {
    CAPTURE(yaml);
    const auto change = rescaling(yaml);
    const RescaledScheme scheme(*linear, *change, geometry, full);
    const RopeTable evaluated = change->table(linear->table(geometry, 64), geometry, full);
    CHECK(scheme.table(geometry, 64) == evaluated);
    const std::vector<double> slope = table_slope(scheme, geometry, 64).inv_freq;
    for (std::size_t i = 0; i < slope.size(); ++i) CHECK(slope[i] == Approx(-evaluated.inv_freq[i]));
  }
}

TEST_CASE("bad bands are refused with what would do") {
  CHECK(contains(refused("{type: bands, bands: 9, scales: [1]}"),
                 "9 bands need as many RoPE pairs and head_dim 16 has 8"));
  CHECK(
      contains(refused("{type: bands, edges: [0, 3, 3, 8], scales: [1, 1, 1]}"), "the band between 3 and 3 is empty"));
  CHECK(contains(refused("{type: bands, edges: [1, 8], scales: [1]}"),
                 "expected the first pair of every band and the end"));
  CHECK(contains(refused("{type: bands, edges: [0, 9], scales: [1]}"), "end at pair 9 and head_dim 16 has 8 pairs"));
  CHECK(contains(refused("{type: bands, bands: 2, scales: [1, 0]}"), "a scale must be positive and finite, found 0"));
  CHECK(contains(refused("{type: bands, bands: 2, scales: [1, -1]}"), "found -1"));
  CHECK(refused("{type: bands, bands: 2, scales: [1, .inf]}") != "(no error)");
  CHECK(contains(refused("{type: bands, bands: 2, scales: [1, 1, 1]}"), "3 scales, and these bands take 2 a layer"));
  CHECK(contains(refused("{type: bands, bands: 2}"), "give one of scales"));
  CHECK(
      contains(refused("{type: bands, bands: 2, per_layer: true, scales: [[1, 1]]}"), "1 rows of scales for 2 layers"));
  CHECK(
      contains(refused("{type: bands, variant: independent, bands: 2, scales: [1, 1]}"), "{q: [g, ...], k: [g, ...]}"));
  CHECK(contains(refused("{type: bands, file: nowhere.json}"), "nowhere.json: no such file"));
}

TEST_CASE("scales come back from their file, for the model that they were found for only") {
  const Scratch scratch;
  const BandScales scales = scales_of(BandVariant::independent, {0, 3, 8}, 2, {0.9, 1.1, 1.0 / 3, 1, 1, 1, 1.25, 0.8});
  const auto file = scratch.write("scales.json", to_json(scales, "abc").dump());
  const auto read = rescaling("{type: bands, file: " + file.string() + "}");
  const Llama full = random_llama(small_llama_config(), at::kDouble, 7);
  Llama a = full, b = full;
  read->apply(a);
  scale_bands(scales, b);
  CHECK(at::equal(a.layers[1].k_proj.weight_OI, b.layers[1].k_proj.weight_OI));
  read->check_checkpoint("abc");
  CHECK(contains(error_text([&] { read->check_checkpoint("other"); }),
                 "found for the model with hash abc and this one's is other"));
  const auto broken = scratch.write("broken.json", "{\"model\": 3}");
  CHECK(contains(refused("{type: bands, file: " + broken.string() + "}"), "no file of scales"));
}

}  // namespace
}  // namespace qroar
