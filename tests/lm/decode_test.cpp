// Decoding against plain forwards.
#include "model/decode.h"

#include <ATen/Parallel.h>

#include "support/catch.h"
#include "support/decode.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {
namespace {

/// Appends tokens in pieces of different sizes; the largest distance of any state from that of a forward over all
/// tokens up to its piece's end.
double farthest(const Llama& model, const Scheme& scheme) {
  const at::Tensor tokens_T = random_tokens(40);
  Decoder decoder(
      model, [&](int64_t length) { return scheme.table(length); }, 40, false);
  double far = 0;
  int64_t begin = 0;
  for (const int64_t end : {13, 14, 15, 16, 17, 21, 22, 23, 24, 25, 33, 40}) {
    const at::Tensor hidden_TD = decoder.append(tokens_T.slice(0, begin, end));
    const at::Tensor whole_TD = forward(model, tokens_T.slice(0, 0, end), scheme.angles(end));
    far = std::max(far, (hidden_TD - whole_TD.slice(0, begin, end)).abs().max().item<double>());
    begin = end;
  }
  CHECK(decoder.length() == 40);
  return far;
}

const std::string kLongRope =
    "{type: longrope, factor: 2, short_factor: [1, 1, 1, 1, 1, 1, 1, 2], long_factor: [1, 1, 1, 2, 2, 3, 4, 8]}";

}  // namespace

TEST_CASE("a token's attention keeps to its definition where keys far behind others have much larger scores") {
  at::manual_seed(4);
  constexpr int64_t kKeys = 700;  // in several tasks
  const at::Tensor q = at::ones({1, 2, 32}, at::kBFloat16);
  at::Tensor k = at::zeros({kKeys, 1, 32}, at::kBFloat16);
  const at::Tensor v = at::randn({kKeys, 1, 32}).to(at::kBFloat16);
  for (const int64_t place : {10, 300, 650}) {
    k.zero_();
    k[place].fill_(100);  // a score of 100 sqrt 32, whose exponential no float holds
    const at::Tensor found = ops::causal_attention(q, k, v);
    for (int64_t head = 0; head < 2; ++head) CHECK(at::equal(found[0][head], v[place][0]));
  }
}

TEST_CASE("decoding equals a forward over the whole sequence, for every cache and every scheme with one table") {
  const LlamaConfig llama = small_llama_config();
  const Llama model = random_llama(llama, at::kDouble, 3);
  int64_t schemes = 0;
  for (const auto& [name, entry] : Registry<RopeScheme>::instance().entries()) {
    if (name == "model") continue;  // needs a config.json that names one
    // LongRoPE's example is for another head_dim.
    const Scheme scheme{make_scheme(name == "longrope" ? kLongRope : entry.example), llama};
    if (scheme.table(13).inv_freq != scheme.table(40).inv_freq) continue;
    ++schemes;
    for (const auto& kv : kCaches) {
      INFO(name << " " << kv);
      CHECK(farthest(with(model, kv), scheme) < kTolerance);
    }
  }
  CHECK(schemes >= 7);
}

TEST_CASE("decoding equals a forward for the features of every family and every cache, in float64") {
  for (const auto& [feature, change] : model_features()) {
    LlamaConfig llama = small_llama_config();
    change(llama);
    const Llama model = random_llama(llama, at::kDouble, 3);
    const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
    for (const auto& kv : kCaches) {
      INFO(feature << " " << kv);
      CHECK(farthest(with(model, kv), scheme) < kTolerance);
    }
  }
}

TEST_CASE("a token goes through a layer in one with the bits of the separate ops, for the features of every family") {
  for (const auto& [feature, change] : model_features()) {
    LlamaConfig llama = small_llama_config();
    llama.head_dim = 32;
    change(llama);
    const Llama model = random_llama(llama, at::kBFloat16, 3);
    const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
    const TableOf table_of = [&](int64_t length) { return scheme.table(length); };
    const at::Tensor tokens_T = random_tokens(40);
    INFO(feature);
    CHECK(at::equal(decoded_states(model, table_of, tokens_T, 3),
                    decoded_states(op_by_op(model), table_of, tokens_T, 3)));
  }
}

TEST_CASE("where frequencies depend on the length, all keys are turned anew: exact in the first layer") {
  LlamaConfig llama = small_llama_config();
  llama.num_hidden_layers = 1;
  llama.trained_length = 16;
  const Llama model = random_llama(llama, at::kDouble, 3);
  for (const std::string& yaml :
       {std::string("{type: dynamic_ntk, factor: 2}"), std::string("{type: dynamic_yarn}"), kLongRope}) {
    const Scheme scheme{make_scheme(yaml), llama};
    REQUIRE(scheme.table(13).inv_freq != scheme.table(40).inv_freq);
    for (const auto& kv : kCaches) {
      INFO(yaml << " " << kv);
      CHECK(farthest(with(model, kv), scheme) < kTolerance);
    }
  }
}

TEST_CASE("greedy decoding takes the most likely tokens of whole forwards, and stops where it is told to") {
  const LlamaConfig llama = small_llama_config();
  const Llama model = random_llama(llama, at::kDouble, 3);
  const Scheme scheme{make_scheme("{type: none}"), llama};
  const auto decode = [&](int64_t count, const std::function<bool(int64_t)>& stop) {
    Decoder decoder(
        model, [&](int64_t length) { return scheme.table(length); }, 40, false);
    const at::Tensor hidden_TD = decoder.append(random_tokens(8));
    return decoder.greedy(hidden_TD[-1], count, stop);
  };
  std::vector<int64_t> expected;
  at::Tensor tokens_T = random_tokens(8);
  for (int64_t i = 0; i < 6; ++i) {
    const at::Tensor hidden_TD = forward(model, tokens_T, scheme.angles(tokens_T.size(0)));
    expected.push_back(logits(model, hidden_TD.slice(0, -1)).argmax().item<int64_t>());
    tokens_T = at::cat({tokens_T, at::tensor({expected.back()}, at::kLong)});
  }
  std::vector<int64_t> seen;
  const auto goes_on = [&](int64_t token) {
    seen.push_back(token);
    return false;
  };
  CHECK(decode(6, goes_on) == expected);
  CHECK(seen == expected);  // the last one, too
  const auto stopped = decode(6, [&](int64_t token) { return token == expected[2]; });
  REQUIRE_FALSE(stopped.empty());
  CHECK(stopped.back() == expected[2]);
}

TEST_CASE("a layer of one parallel region has the bits of its ops one after another") {
  LlamaConfig llama = small_llama_config();
  llama.vocab_size = 512;
  llama.qkv_bias = llama.o_bias = llama.mlp_bias = true;
  struct Shape {
    int64_t hidden, heads, kv_heads, dim, intermediate;
  };
  const int threads = at::get_num_threads();
  // The last one has rows that no vector divides.
  for (const auto& [hidden, heads, kv_heads, dim, intermediate] :
       {Shape{64, 9, 3, 64, 96}, Shape{128, 5, 1, 32, 160}, Shape{96, 2, 2, 128, 64}, Shape{75, 3, 1, 32, 67}}) {
    llama.hidden_size = hidden;
    llama.num_attention_heads = heads;
    llama.num_key_value_heads = kv_heads;
    llama.head_dim = dim;
    llama.intermediate_size = intermediate;
    const Llama plain = random_llama(llama, at::kBFloat16, 3);
    const auto takes_layer = [&](at::ScalarType dtype) {
      const Llama model = random_llama(llama, dtype, 3);
      const DecoderLayer& layer = model.layers[0];
      at::Tensor x_1D = at::ones({1, hidden}, dtype);
      const at::Tensor key_CKd = at::zeros({4, kv_heads, dim}, dtype), value_CKd = key_CKd.clone();
      return ops::decode_layer_(x_1D,
                                {layer.input_norm_D, layer.post_attention_norm_D, layer.q_norm_d, layer.k_norm_d,
                                 layer.q_proj, layer.k_proj, layer.v_proj, layer.o_proj, layer.gate_proj, layer.up_proj,
                                 layer.down_proj, 1e-5, layer.attention, true, key_CKd, value_CKd},
                                {at::ones({4, dim / 2}), at::ones({4, dim / 2})}, 0);
    };
    CHECK(takes_layer(at::kBFloat16));
    CHECK_FALSE(takes_layer(at::kFloat));
    const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
    at::manual_seed(5);
    const at::Tensor tokens_T = at::randint(llama.vocab_size, {540}, at::kLong);
    const auto states = [&](const Llama& model) {
      return decoded_states(
          model, [&](int64_t length) { return scheme.table(length); }, tokens_T, 500);
    };
    at::set_num_threads(1);
    const at::Tensor expected_TD = states(op_by_op(plain));
    for (const int count : {1, 2, 3, 7}) {
      at::set_num_threads(count);
      INFO(hidden << " channels, " << count << " threads");
      CHECK(at::equal(states(plain), expected_TD));
    }
    at::set_num_threads(threads);
  }
}

}  // namespace qroar
