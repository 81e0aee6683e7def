// The fake-quantized cache: the attention through it against its definition, rows of each axis by hand, and that no
// query sees what comes after it.  Activations on their way into linear layers: activations_test.cpp.
#include <cmath>

#include "model/angles.h"
#include "ops/ops.h"
#include "quant/kv_cache.h"
#include "quant/plan.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {
namespace {

at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype = at::kDouble) {
  return at::randn(sizes, at::TensorOptions().dtype(at::kDouble)).to(dtype);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

/// The definition over whole matrices: query head h at t reads token s exactly when t - s < residual.
at::Tensor attention_by_definition(const at::Tensor& q_THd, const at::Tensor& cached_k_TKd,
                                   const at::Tensor& cached_v_TKd, const at::Tensor& exact_k_TKd,
                                   const at::Tensor& exact_v_TKd, int64_t residual) {
  const int64_t T = q_THd.size(0), H = q_THd.size(1), shared = H / cached_k_TKd.size(1);
  const at::Tensor position = at::arange(T), distance_TT = position.unsqueeze(1) - position.unsqueeze(0);
  const at::Tensor near_TT = distance_TT < residual;
  std::vector<at::Tensor> heads;
  for (int64_t h = 0; h < H; ++h) {
    const auto head = [&](const at::Tensor& x_TKd) { return x_TKd.select(1, h / shared); };
    const at::Tensor q_Td = q_THd.select(1, h);
    const at::Tensor scores_TT = at::where(near_TT, q_Td.mm(head(exact_k_TKd).t()), q_Td.mm(head(cached_k_TKd).t()));
    const at::Tensor weights_TT = at::softmax(
        (scores_TT / std::sqrt(static_cast<double>(q_Td.size(1)))).masked_fill(distance_TT < 0, -INFINITY), 1);
    heads.push_back((weights_TT * near_TT).mm(head(exact_v_TKd)) +
                    (weights_TT * near_TT.logical_not()).mm(head(cached_v_TKd)));
  }
  return at::stack(heads, 1);
}

KvCache cache(const std::string& yaml, const LlamaConfig& config = small_llama_config()) {
  const Config block = Config::parse("kv: " + yaml, "kv.yaml").at("kv");
  KvCache kv(block, config, /*rotated=*/false);
  check_all_read(block);
  return kv;
}

HeadTransforms heads_of(const std::string& yaml, const LlamaConfig& config = small_llama_config()) {
  HeadTransforms heads;
  cache(yaml, config).attach(heads);
  return heads;
}

at::Tensor logits_of(const Llama& model, const at::Tensor& tokens_T) {
  const auto dtype = model.embed_tokens_VD.scalar_type();
  const int64_t T = tokens_T.size(0);
  const RopeTable table = make_scheme("{type: none}")->table(model.config.rope_geometry(T), T);
  return logits(model, forward(model, tokens_T, rope_angles(table, T, dtype, at::kCPU, false)));
}

Llama with_kv(const Llama& model, const std::string& yaml) {
  return apply(QuantPlan(Config::parse("kv: " + yaml, "kv.yaml"), model.config), model, {});
}

at::Tensor random_tokens(const Llama& model, int64_t T) {
  return at::randint(model.config.vocab_size, {T}, at::TensorOptions().dtype(at::kLong));
}

/// Every axis for keys and values, keys before and after RoPE, residuals from none to more than the text; groups of 4
/// tokens, whose least residual is 3.
std::vector<std::string> allowed_blocks() {
  std::vector<std::string> blocks;
  for (const std::string key_axis : {"head", "token", "channel"}) {
    for (const std::string value_axis : {"head", "token", "channel"}) {
      for (const std::string rope : {"before", "after"}) {
        for (const int residual : {0, 1, 3, 5, 40}) {
          if (residual < 3 && (key_axis == "channel" || value_axis == "channel")) continue;
          blocks.push_back(fmt::format(
              "{{type: fake_quant, key: {{type: rtn, bits: 2, group: 4}}, value: {{type: rtn, bits: 3, group: "
              "4}}, key_axis: {}, value_axis: {}, key_rope: {}, residual: {}, query: {{type: rtn, group: 0}}}}",
              key_axis, value_axis, rope, residual));
        }
      }
    }
  }
  return blocks;
}

/// Does changing the token at t change the logits before t?
bool sees_later(const Llama& model, const at::Tensor& tokens_T, int64_t t) {
  at::Tensor changed_T = tokens_T.clone();
  changed_T[t] = (tokens_T[t] + 1) % model.config.vocab_size;
  return !at::equal(logits_of(model, tokens_T).slice(0, 0, t), logits_of(model, changed_T).slice(0, 0, t));
}

}  // namespace

TEST_CASE("attention through a cache is the triple loop of its definition", "[kv]") {
  at::manual_seed(1);
  const int64_t T = 7, H = 4, K = 2, d = 8;
  const at::Tensor q = random({T, H, d}), cached_k = random({T, K, d}), cached_v = random({T, K, d}),
                   exact_k = random({T, K, d}), exact_v = random({T, K, d});
  for (const int64_t residual : {0, 1, 3, 7, 100}) {
    CAPTURE(residual);
    const at::Tensor out = ops::residual_attention(q, cached_k, cached_v, exact_k, exact_v, residual);
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t h = 0; h < H; ++h) {
        at::Tensor mixed = at::zeros({d}, q.options());
        double total = 0;
        for (int64_t s = 0; s <= t; ++s) {
          const bool exact = t - s < residual;
          const at::Tensor k = (exact ? exact_k : cached_k)[s][h / 2], v = (exact ? exact_v : cached_v)[s][h / 2];
          const double weight = std::exp(at::dot(q[t][h], k).item<double>() / std::sqrt(8.0));
          mixed += v * weight;
          total += weight;
        }
        CHECK(largest_difference(out[t][h], mixed / total) < 1e-14);  // some roundings of values around 1
      }
    }
  }
}

TEST_CASE("a residual of 0 reads the cache alone, and one as long as the text only exact tokens", "[kv]") {
  at::manual_seed(2);
  const at::Tensor q = random({300, 4, 16}), cached_k = random({300, 2, 16}), cached_v = random({300, 2, 16}),
                   exact_k = random({300, 2, 16}), exact_v = random({300, 2, 16});
  CHECK(at::equal(ops::residual_attention(q, cached_k, cached_v, exact_k, exact_v, 0),
                  ops::causal_attention(q, cached_k, cached_v)));
  for (const int64_t residual : {300, 1000}) {
    CHECK(largest_difference(ops::residual_attention(q, cached_k, cached_v, exact_k, exact_v, residual),
                             ops::causal_attention(q, exact_k, exact_v)) < 1e-14);
  }
}

TEST_CASE("attention through a cache keeps to its definition across the blocks of rows it is computed in", "[kv]") {
  at::manual_seed(3);
  const at::Tensor q = random({600, 4, 16}), cached_k = random({600, 2, 16}), cached_v = random({600, 2, 16}),
                   exact_k = random({600, 2, 16}), exact_v = random({600, 2, 16});
  for (const int64_t residual : {1, 2, 100, 255, 256, 257, 513, 599}) {
    CAPTURE(residual);
    const at::Tensor want = attention_by_definition(q, cached_k, cached_v, exact_k, exact_v, residual);
    CHECK(largest_difference(ops::residual_attention(q, cached_k, cached_v, exact_k, exact_v, residual), want) < 1e-14);
    // Inputs rounded to bfloat16 are read exactly; scores of up to some 20 in float32 and one cast of values below 4.
    const auto narrow = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
    const auto wide = [](const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kDouble); };
    const at::Tensor got = ops::residual_attention(narrow(q), narrow(cached_k), narrow(cached_v), narrow(exact_k),
                                                   narrow(exact_v), residual);
    REQUIRE(got.scalar_type() == at::kBFloat16);
    CHECK(largest_difference(got.to(at::kDouble), attention_by_definition(wide(q), wide(cached_k), wide(cached_v),
                                                                          wide(exact_k), wide(exact_v), residual)) <
          0x1p-7);
  }
}

TEST_CASE("a row of the cache is a head of a token, a token, or a channel of a group of tokens", "[kv]") {
  // One layer's keys: 5 tokens, 2 heads, 2 channels.  2 bits, symmetric: scale = max, so a value becomes 0 or +-max
  // (or -2 max, which no value reaches), a half going to 0.
  LlamaConfig config = small_llama_config();
  config.num_key_value_heads = config.head_dim = 2;
  const at::Tensor x_TKd =
      at::tensor({4., 1., 8., 5., 4., 3., 2., 2., 1., 6., 1., 1., 3., 9., 0., 2., 7., 7., 7., 1.}, at::kDouble)
          .view({5, 2, 2});
  const auto key = [&](const std::string& axis, const std::string& quantizer) {
    return heads_of("{type: fake_quant, key: " + quantizer + ", key_axis: " + axis + ", residual: 1}", config)
        .key(x_TKd)
        .view({5, 4});
  };
  const auto want = [](const std::vector<double>& values) { return at::tensor(values, at::kDouble).view({5, 4}); };
  const std::string per_row = "{type: rtn, bits: 2, symmetric: true, group: 0}";
  CHECK(at::equal(key("head", per_row), want({4, 0, 8, 8, 4, 4, 2, 2, 0, 6, 1, 1, 0, 9, 0, 2, 7, 7, 7, 0})));
  CHECK(at::equal(key("token", per_row), want({0, 0, 8, 8, 4, 4, 0, 0, 0, 6, 0, 0, 0, 9, 0, 0, 7, 7, 7, 0})));
  // Tokens 0, 1 and tokens 2, 3 are groups; token 4 has no whole group.
  CHECK(at::equal(key("channel", "{type: rtn, bits: 2, symmetric: true, group: 2}"),
                  want({4, 0, 8, 5, 4, 3, 0, 0, 0, 9, 1, 0, 3, 9, 0, 2, 7, 7, 7, 1})));
  CHECK(at::equal(key("channel", "{type: rtn, bits: 2, symmetric: true, group: 1}"), x_TKd.view({5, 4})));
}

TEST_CASE("parts that are not quantized have no transform, and keys go before or after RoPE", "[kv]") {
  const HeadTransforms none = heads_of("{type: none}");
  CHECK_FALSE((none.query.function || none.key.function || none.key_before_rope.function || none.value.function));
  const HeadTransforms idle = heads_of("{type: fake_quant, residual: 8}");
  CHECK_FALSE((idle.query.function || idle.key.function || idle.key_before_rope.function || idle.value.function));
  CHECK(idle.residual == 0);
  const HeadTransforms after = heads_of("{type: fake_quant, key: {type: rtn, group: 0}, residual: 8}");
  CHECK((after.key.function && !after.key_before_rope.function && !after.value.function && !after.query.function));
  CHECK(after.residual == 8);
  const HeadTransforms before = heads_of("{type: fake_quant, key: {type: rtn, group: 0}, key_rope: before}");
  CHECK((!before.key.function && before.key_before_rope.function));
}

TEST_CASE("no query sees a later token, whatever the axes, the residual and the place of keys", "[kv]") {
  const Llama full = random_llama(small_llama_config(), at::kFloat, 4);
  const at::Tensor tokens_T = random_tokens(full, 23);  // the last group of 4 is incomplete
  const std::vector<std::string> blocks = allowed_blocks();
  REQUIRE(blocks.size() == 2 * (4 * 5 + 5 * 3));
  for (const std::string& block : blocks) {
    CAPTURE(block);
    const Llama model = with_kv(full, block);
    for (const int64_t t : {1, 4, 7, 8, 11, 20, 22}) CHECK_FALSE(sees_later(model, tokens_T, t));
  }
}

TEST_CASE("formats whose blocks lie within a row of the cache are taken, and no query sees a later token", "[kv]") {
  const Llama full = random_llama(small_llama_config(), at::kFloat, 10);
  const at::Tensor tokens_T = random_tokens(full, 40);
  for (const std::string quantizer :
       {"{type: nf4, block: 32}", "{type: mxfp4}", "{type: nvfp4, global_scale: token}", "{type: fp8}"}) {
    const Llama model = with_kv(full, fmt::format("{{type: fake_quant, key: {0}, value: {0}, key_axis: token, "
                                                  "value_axis: token}}",
                                                  quantizer));
    CAPTURE(quantizer);
    CHECK(largest_difference(logits_of(model, tokens_T), logits_of(full, tokens_T)) > 1e-4);
    for (const int64_t t : {1, 15, 16, 39}) CHECK_FALSE(sees_later(model, tokens_T, t));
  }
  // A channel's group of tokens is a row: 32 tokens and a residual as for rtn.
  const Llama by_channel =
      with_kv(full, "{type: fake_quant, key: {type: nf4, block: 32, group: 32}, key_axis: channel, residual: 31}");
  for (const int64_t t : {1, 31, 32, 39}) CHECK_FALSE(sees_later(by_channel, tokens_T, t));
}

TEST_CASE("the bound on a channel group's residual is exact: one token less and a query sees a later one", "[kv]") {
  const Llama full = random_llama(small_llama_config(), at::kFloat, 5);
  const at::Tensor tokens_T = random_tokens(full, 23);
  for (const std::string part : {"key", "value"}) {
    const auto block = [&](int residual) {
      return fmt::format(
          "{{type: fake_quant, {0}: {{type: rtn, bits: 2, group: 4}}, {0}_axis: channel, residual: {1}}}", part,
          residual);
    };
    Llama model = with_kv(full, block(3));
    CHECK_FALSE(sees_later(model, tokens_T, 7));
    for (DecoderLayer& layer : model.layers) layer.heads.residual = 2;  // as KvCache refuses to
    CHECK(sees_later(model, tokens_T, 7));
    CHECK(error_text([&] { cache(block(2)); }).find("kv.residual: a group of 4 tokens") != std::string::npos);
  }
}

TEST_CASE("logits of a text's beginning do not depend on where the text ends", "[kv]") {
  // In float64: sums over another number of tokens round differently, by less than any decision of a quantizer.
  const Llama full = random_llama(small_llama_config(), at::kDouble, 6);
  const at::Tensor tokens_T = random_tokens(full, 23);
  for (const std::string& block : allowed_blocks()) {
    CAPTURE(block);
    const Llama model = with_kv(full, block);
    const at::Tensor all = logits_of(model, tokens_T);
    for (const int64_t T : {1, 3, 8, 14}) {
      CHECK(largest_difference(logits_of(model, tokens_T.slice(0, 0, T)), all.slice(0, 0, T)) < 1e-11);
    }
  }
}

TEST_CASE("a residual as long as the text gives the logits of full precision, a shorter one others", "[kv]") {
  const Llama full = random_llama(small_llama_config(), at::kDouble, 7);
  const at::Tensor tokens_T = random_tokens(full, 30), exact = logits_of(full, tokens_T);
  const auto difference = [&](int residual) {
    const Llama model = with_kv(
        full,
        fmt::format("{{type: fake_quant, key: {{type: rtn, group: 0}}, value: {{type: rtn, group: 0}}, residual: {}}}",
                    residual));
    return largest_difference(logits_of(model, tokens_T), exact);
  };
  CHECK(difference(30) < 1e-12);  // the two attentions sum in other orders
  CHECK(difference(100) < 1e-12);
  CHECK(difference(29) > 1e-6);
  CHECK(difference(0) > difference(29));
}

TEST_CASE("keys quantized before RoPE give other logits than keys quantized after it, and both leave the model alone",
          "[kv]") {
  const Llama full = random_llama(small_llama_config(), at::kFloat, 8);
  const at::Tensor tokens_T = random_tokens(full, 30), exact = logits_of(full, tokens_T);
  const auto quantized = [&](const std::string& rest) {
    return logits_of(with_kv(full, "{type: fake_quant, key: {type: rtn, group: 0}, " + rest + "}"), tokens_T);
  };
  const at::Tensor before = quantized("key_rope: before"), after = quantized("key_rope: after");
  CHECK(largest_difference(before, after) > 1e-3);
  CHECK(largest_difference(before, exact) > 1e-3);
  CHECK(largest_difference(after, exact) > 1e-3);
  // An exact window keeps its own keys, rotated once.
  CHECK(largest_difference(quantized("key_rope: before, residual: 30"), exact) < 1e-4);
  CHECK(largest_difference(quantized("query: {type: rtn, group: 0}"), after) > 1e-3);
  CHECK(at::equal(logits_of(full, tokens_T), exact));
}

TEST_CASE("every allowed cache runs in bfloat16, and eight bits stay nearer to full precision than three", "[kv]") {
  const Llama full = random_llama(small_llama_config(), at::kBFloat16, 9);
  const at::Tensor tokens_T = random_tokens(full, 23);
  for (const std::string& block : allowed_blocks()) {
    CAPTURE(block);
    const at::Tensor logits_TV = logits_of(with_kv(full, block), tokens_T);
    REQUIRE(logits_TV.scalar_type() == at::kBFloat16);
    CHECK(logits_TV.isfinite().all().item<bool>());
  }
  const at::Tensor exact = logits_of(full, tokens_T).to(at::kDouble);
  const auto error = [&](int bits) {
    const std::string rtn = fmt::format("{{type: rtn, bits: {}, group: 0}}", bits);
    const Llama model = with_kv(full, "{type: fake_quant, key: " + rtn + ", value: " + rtn + "}");
    return largest_difference(logits_of(model, tokens_T).to(at::kDouble), exact);
  };
  CHECK(error(8) < 0.5 * error(3));
}

TEST_CASE("a block the heads cannot take is refused at its place, naming the part", "[kv]") {
  const auto refusal = [](const std::string& yaml) { return error_text([&] { cache(yaml); }); };
  const auto says = [&](const std::string& yaml, const std::string& place, const std::string& what) {
    CAPTURE(refusal(yaml));
    CHECK(refusal(yaml).find("kv.yaml:1:" + place) == 0);
    CHECK(contains(refusal(yaml), what));
  };
  says("{type: fake_quant, key: {type: rtn, group: 32}}",
       "29: kv.key: ", "group 32 does not divide the 16 inputs of kv.key");
  says("{type: fake_quant, value: {type: rtn, group: 64}, value_axis: token}",
       "31: kv.value: ", "does not divide the 32 inputs of kv.value");
  says("{type: fake_quant, query: {type: rtn, group: 32}}", "31: kv.query: ", "the 16 inputs of kv.query");
  says("{type: fake_quant, key: {type: rtn, group: -1}}",
       "29: kv.key: ", "lets a token of kv.key see later ones: group: -1 is one scale for all rows; write group: 0");
  says("{type: fake_quant, query: {type: fp8, group: -1}}",
       "31: kv.query: ", "lets a token of kv.query see later ones");
  says("{type: fake_quant, value: {type: nvfp4}}", "31: kv.value: ", "write global_scale: token");
  says("{type: fake_quant, value: {type: hqq, axis: 1, group: 16}}", "31: kv.value: ", "take another type");
  says("{type: fake_quant, key: {type: nf4, block: 32}}", "29: kv.key: ", "blocks of 32 cross rows of 16");
  says("{type: fake_quant, key: {type: nf4, block: 32, double_quant: true}, key_axis: token}",
       "29: kv.key: ", "write double_quant: false");
  says("{type: fake_quant, key: {type: rtn, group: 0}, key_axis: channel}",
       "29: kv.key: ", "axis channel needs `group`");
  says("{type: fake_quant, key: {type: rtn, group: 8}, key_axis: channel, residual: 6}",
       "81: kv.residual: ", "at least 7, found 6");
  says("{type: fake_quant, key_axis: row}", "34: kv.key_axis: ", "head, token, channel");
  says("{type: kivi}", "12: kv.type: ", "none, fake_quant");
}

}  // namespace qroar
