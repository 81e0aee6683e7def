// Decoding and packed sequences against plain forwards.
#include "model/decode.h"

#include <ATen/Parallel.h>

#include "eval/choices.h"
#include "model/packing.h"
#include "quant/plan.h"
#include "support/catch.h"
#include "support/decode.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {
namespace {

constexpr double kTolerance = 1e-10;  // float64; sums are taken in another order

struct Scheme {
  std::unique_ptr<RopeScheme> scheme;
  LlamaConfig llama;

  RopeTable table(int64_t length) const {
    return scheme->table({llama.head_dim, llama.rope_theta, llama.trained_length, 64, ""}, length);
  }
  ops::RopeAngles angles(int64_t length) const {
    return rope_angles(table(length), length, at::kDouble, at::kCPU, false);
  }
};

at::Tensor random_tokens(int64_t count) {
  at::manual_seed(5);
  return at::randint(50, {count}, at::kLong);
}

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

Llama with(const Llama& model, const std::string& yaml) {
  return apply(QuantPlan(Config::parse(yaml, "t.yaml"), model.config), model, {});
}

const std::vector<std::string> kCaches{
    "{kv: {type: none}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, value: {type: rtn, bits: 4, group: 0}}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, key_rope: before, query: {type: rtn, bits: 8, group: "
    "0}}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 2, group: 4}, key_axis: channel, value: {type: rtn, bits: 2, "
    "group: "
    "0}, value_axis: token, residual: 5}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, value: {type: rtn, bits: 4, group: 0}, residual: "
    "3}}"};

const std::string kLongRope =
    "{type: longrope, factor: 2, short_factor: [1, 1, 1, 1, 1, 1, 1, 2], long_factor: [1, 1, 1, 2, 2, 3, 4, 8]}";

}  // namespace

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
  CHECK(decode(6, [](int64_t) { return false; }) == expected);
  const auto stopped = decode(6, [&](int64_t token) { return token == expected[2]; });
  REQUIRE_FALSE(stopped.empty());
  CHECK(stopped.back() == expected[2]);
}

TEST_CASE("a layer of one parallel region has the bits of its ops one after another") {
  LlamaConfig llama = small_llama_config();
  llama.vocab_size = 512;
  llama.attention_bias = llama.mlp_bias = true;
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
      return ops::decode_layer_(
          x_1D,
          {layer.input_norm_D, layer.post_attention_norm_D, layer.q_proj, layer.k_proj, layer.v_proj, layer.o_proj,
           layer.gate_proj, layer.up_proj, layer.down_proj, 1e-5, key_CKd, value_CKd},
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

TEST_CASE("packed sequences equal forwards of each, with and without a parent") {
  const LlamaConfig llama = small_llama_config();
  const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
  for (const char* yaml :
       {"{}", "{quant: [{match: 'layers.*', input: {type: rtn, bits: 4, group: 0}}]}",
        "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, value: {type: rtn, bits: 4, group: 0}}}"}) {
    const Llama model = with(random_llama(llama, at::kDouble, 3), yaml);
    REQUIRE(can_pack(model));
    const at::Tensor tokens_T = random_tokens(30);
    // Rows 0-9, their continuations 10-12 and 13-17, a sequence of its own 18-28, its continuation 29.
    const std::vector<PackedSequence> sequences{{10, -1}, {3, 0}, {5, 0}, {11, -1}, {1, 3}};
    const at::Tensor packed_TD = forward_mixed(model, tokens_T, packed(sequences, scheme.angles(15)));
    const auto whole = [&](std::vector<std::pair<int64_t, int64_t>> parts) {
      std::vector<at::Tensor> tokens;
      for (const auto& [begin, end] : parts) tokens.push_back(tokens_T.slice(0, begin, end));
      const at::Tensor joined_T = at::cat(tokens);
      return forward(model, joined_T, scheme.angles(joined_T.size(0)));
    };
    const auto same = [&](int64_t begin, int64_t end, const at::Tensor& whole_TD) {
      const at::Tensor own_TD = packed_TD.slice(0, begin, end);
      return (own_TD - whole_TD.slice(0, whole_TD.size(0) - (end - begin))).abs().max().item<double>() < kTolerance;
    };
    INFO(yaml);
    CHECK(same(0, 10, whole({{0, 10}})));
    CHECK(same(10, 13, whole({{0, 10}, {10, 13}})));
    CHECK(same(13, 18, whole({{0, 10}, {13, 18}})));
    CHECK(same(18, 29, whole({{18, 29}})));
    CHECK(same(29, 30, whole({{18, 29}, {29, 30}})));
  }
}

TEST_CASE("packs behind a prefix equal forwards of prefix, parent and sequence") {
  const LlamaConfig llama = small_llama_config();
  const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
  for (const auto& yaml : {std::string("{}"), kCaches[1], kCaches[2]}) {
    const Llama model = with(random_llama(llama, at::kDouble, 3), yaml);
    const at::Tensor tokens_T = random_tokens(40), before_P = tokens_T.slice(0, 20, 40);
    const SharedPrefix prefix(model, before_P, scheme.angles(35), 15);
    // A second pack finds nothing of the first one.
    for (const auto& sequences : {std::vector<PackedSequence>{{10, -1}, {3, 0}, {5, 0}, {2, -1}},
                                  std::vector<PackedSequence>{{1, -1}, {4, -1}, {9, 1}, {6, -1}}}) {
      const at::Tensor packed_TD =
          forward_mixed(model, tokens_T.slice(0, 0, 20), packed(sequences, scheme.angles(35), &prefix));
      std::vector<at::Tensor> tokens;
      int64_t begin = 0;
      for (const PackedSequence& sequence : sequences) {
        tokens.push_back(tokens_T.slice(0, begin, begin + sequence.length));
        std::vector<at::Tensor> parts{before_P, tokens.back()};
        if (sequence.parent >= 0) parts.insert(parts.begin() + 1, tokens[static_cast<std::size_t>(sequence.parent)]);
        const at::Tensor whole_T = at::cat(parts);
        const at::Tensor whole_TD = forward(model, whole_T, scheme.angles(whole_T.size(0)));
        INFO(yaml << ", sequence at " << begin);
        CHECK((packed_TD.slice(0, begin, begin + sequence.length) - whole_TD.slice(0, -sequence.length))
                  .abs()
                  .max()
                  .item<double>() < kTolerance);
        begin += sequence.length;
      }
    }
  }
}

TEST_CASE("models whose rounding couples tokens are not packed") {
  const Llama model = random_llama(small_llama_config(), at::kDouble, 3);
  CHECK_FALSE(can_pack(with(model, kCaches[3])));
  CHECK_FALSE(can_pack(with(model, kCaches[4])));
  CHECK_FALSE(can_pack(with(model, "{quant: [{match: 'layers.*', input: {type: rtn, bits: 8, group: -1}}]}")));
}

TEST_CASE("the work of questions counts what they share once") {
  const LlamaConfig llama = small_llama_config();
  CHECK(forward_flops(llama, 7) + forward_flops(llama, 5, 7) == Approx(forward_flops(llama, 12)));
  const std::vector<int32_t> common(200, 1);
  auto longer = common;
  longer.push_back(2);
  const std::vector<Choices> questions{{{{common, {3, 4}}, {common, {5}}}}, {{{longer, {6, 7, 8}}}}};
  const auto flops = choice_flops(llama, questions);
  CHECK(flops[0] == Approx(forward_flops(llama, 201)));  // the last token of a choice is only predicted
  CHECK(flops[1] == Approx(forward_flops(llama, 4, 199)));
}

TEST_CASE("the likelihoods of packed choices are those of each choice alone, behind a common beginning or none") {
  const int64_t common = GENERATE(0, kSharedTokens - 1, kSharedTokens, 300);
  INFO(common << " tokens in common");
  const LlamaConfig llama = small_llama_config();
  const Llama model = random_llama(llama, at::kDouble, 3);
  const Scheme scheme{make_scheme("{type: ntk, factor: 2}"), llama};
  const AnglesOf angles_of = [&](int64_t length) { return scheme.angles(length); };
  std::mt19937 random(3);
  const auto draw = [&](int64_t count) {
    std::vector<int32_t> tokens(static_cast<std::size_t>(count));
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 50);
    return tokens;
  };
  const auto beginning = draw(common);
  const auto context_of = [&](int64_t count) {
    auto tokens = beginning;
    for (const int32_t token : draw(count)) tokens.push_back(token);
    return tokens;
  };
  std::vector<Choices> questions;
  for (int64_t i = 0; i < 7; ++i) {
    Choices question;
    const auto context = context_of(3 + i);
    for (const int64_t length : {1, 4, 2}) question.pairs.push_back({i == 4 ? context_of(5) : context, draw(length)});
    questions.push_back(question);
  }
  std::map<std::size_t, Likelihoods> told;
  const auto known = [&](std::size_t question) {
    return told.contains(question) ? std::optional(told[question]) : std::nullopt;
  };
  const auto together =
      choice_log_likelihoods(model, angles_of, questions, known,
                             [&](std::size_t question, const Likelihoods& found) { told[question] = found; });
  CHECK(told.size() == questions.size());
  // What is known is taken as it is, and what is not comes to the same bits beside it.
  told.erase(2);
  told[3] = {1, 2, 3};
  auto partly = choice_log_likelihoods(model, angles_of, questions, known,
                                       [&](std::size_t question, const Likelihoods&) { CHECK(question == 2); });
  CHECK(partly[3] == Likelihoods{1, 2, 3});
  partly[3] = together[3];
  CHECK(partly == together);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const auto alone = choice_log_likelihoods_alone(model, angles_of, questions[i]);
    REQUIRE(together[i].size() == 3);
    for (std::size_t k = 0; k < 3; ++k) CHECK(together[i][k] == Approx(alone[k]).epsilon(1e-12));
  }
}

}  // namespace qroar
