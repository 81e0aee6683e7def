// Packed sequences, and the likelihoods of choices that are made of them, against plain forwards.
#include "model/packing.h"

#include <map>
#include <random>

#include "eval/choices.h"
#include "eval/shared_tokens.h"
#include "support/catch.h"
#include "support/decode.h"
#include "support/llama.h"

namespace qroar {

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
    const at::Tensor packed_TD = forward(model, tokens_T, packed(sequences, scheme.angles(15)));
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

TEST_CASE("packs of models with the features of every family equal forwards, behind a prefix or not") {
  for (const auto& [feature, change] : model_features()) {
    LlamaConfig llama = small_llama_config();
    change(llama);
    const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
    const Llama model = random_llama(llama, at::kDouble, 3);
    const at::Tensor tokens_T = random_tokens(40), before_P = tokens_T.slice(0, 20, 40);
    const SharedPrefix prefix(model, before_P, scheme.angles(40), 20);
    const std::vector<PackedSequence> sequences{{8, -1}, {4, 0}, {8, -1}};
    for (const SharedPrefix* before : {static_cast<const SharedPrefix*>(nullptr), &prefix}) {
      const at::Tensor packed_TD =
          forward(model, tokens_T.slice(0, 0, 20), packed(sequences, scheme.angles(40), before));
      const auto whole_TD = [&](std::vector<at::Tensor> parts) {
        if (before != nullptr) parts.insert(parts.begin(), before_P);
        const at::Tensor whole_T = at::cat(parts);
        return forward(model, whole_T, scheme.angles(whole_T.size(0)));
      };
      const auto far = [&](int64_t begin, int64_t end, const at::Tensor& expected_TD) {
        return (packed_TD.slice(0, begin, end) - expected_TD.slice(0, -(end - begin))).abs().max().item<double>();
      };
      INFO(feature << (before == nullptr ? "" : ", behind a prefix"));
      CHECK(far(0, 8, whole_TD({tokens_T.slice(0, 0, 8)})) < kTolerance);
      CHECK(far(8, 12, whole_TD({tokens_T.slice(0, 0, 12)})) < kTolerance);
      CHECK(far(12, 20, whole_TD({tokens_T.slice(0, 12, 20)})) < kTolerance);
    }
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
          forward(model, tokens_T.slice(0, 0, 20), packed(sequences, scheme.angles(35), &prefix));
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
  CHECK(can_pack(with(model, "{quant: [{match: 'layers.*', input: {type: nf4, block: 32}}]}")));
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
  const std::vector<int32_t> other(150, 9);  // does not keep the rest from sharing
  const auto more = choice_flops(llama, {{{{other, {3}}}}, questions[0], questions[1]});
  CHECK(more[0] == Approx(forward_flops(llama, 150)));
  CHECK(std::vector(more.begin() + 1, more.end()) == flops);
}

TEST_CASE("the likelihoods of packed choices are those of each choice alone, behind a common beginning or none") {
  const int64_t common = GENERATE(0, kSharedTokens - 1, kSharedTokens, 300);
  INFO(common << " tokens in common");
  const LlamaConfig llama = small_llama_config();
  const Llama model = random_llama(llama, at::kDouble, 3);
  // Under the second one each length has a table of its own beyond the trained 64 tokens.
  const Scheme scheme{make_scheme(GENERATE("{type: ntk, factor: 2}", "{type: dynamic_ntk, factor: 2}")), llama};
  const AnglesOf angles_of = [&](int64_t length) { return scheme.angles(length); };
  const TableOf table_of = [&](int64_t length) { return scheme.table(length); };
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
  for (int64_t i = 0; i < 8; ++i) {
    Choices question;
    const auto context = i == 5 ? draw(common + 9) : context_of(3 + i);  // one begins differently
    for (const int64_t length : {1, 4, 2}) question.pairs.push_back({i == 4 ? context_of(5) : context, draw(length)});
    questions.push_back(question);
  }
  std::map<std::size_t, Likelihoods> told;
  const auto known = [&](std::size_t question) {
    return told.contains(question) ? std::optional(told[question]) : std::nullopt;
  };
  const auto together =
      choice_log_likelihoods(model, angles_of, table_of, questions, known,
                             [&](std::size_t question, const Likelihoods& found) { told[question] = found; });
  CHECK(told.size() == questions.size());
  // What is known is taken as it is, and what is not comes to the same bits beside it.
  told.erase(2);
  told[3] = {1, 2, 3};
  auto partly = choice_log_likelihoods(model, angles_of, table_of, questions, known,
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

TEST_CASE("questions whose lengths have tables of their own do not share the keys of their common beginning") {
  const LlamaConfig llama = small_llama_config();
  const Llama model = random_llama(llama, at::kDouble, 3);
  const Scheme scheme{make_scheme("{type: dynamic_ntk, factor: 2}"), llama};
  const AnglesOf angles_of = [&](int64_t length) { return scheme.angles(length); };
  const TableOf table_of = [&](int64_t length) { return scheme.table(length); };
  std::vector<Choices> questions;
  for (const int64_t length : {kPackedTokens, kPackedTokens + 40}) {  // behind 200 tokens in common each fills a pack
    std::vector<int32_t> context;
    for (int64_t i = 0; i < length + 200; ++i)
      context.push_back(static_cast<int32_t>(i < 200 ? i * i % 50 : i * length % 47));
    questions.push_back({{{context, {3}}, {context, {4}}}});
  }
  const auto together = choice_log_likelihoods(
      model, angles_of, table_of, questions, [](std::size_t) { return std::optional<Likelihoods>(); },
      [](std::size_t, const Likelihoods&) {});
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const auto alone = choice_log_likelihoods_alone(model, angles_of, questions[i]);
    for (std::size_t k = 0; k < 2; ++k) CHECK(together[i][k] == Approx(alone[k]).epsilon(1e-12));
  }
}

TEST_CASE("choices with contexts of their own are those of each alone, in one pack or in several") {
  const int64_t length = GENERATE(20, kPackedTokens / 2);
  const LlamaConfig llama = small_llama_config();
  const Llama model = random_llama(llama, at::kDouble, 3);
  const Scheme scheme{make_scheme(GENERATE("{type: none}", "{type: dynamic_ntk, factor: 2}")), llama};
  const AnglesOf angles_of = [&](int64_t tokens) { return scheme.angles(tokens); };
  const TableOf table_of = [&](int64_t tokens) { return scheme.table(tokens); };
  std::mt19937 random(5);
  const auto draw = [&](int64_t count) {
    std::vector<int32_t> tokens(static_cast<std::size_t>(count));
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 50);
    return tokens;
  };
  // The second question is cut: of one prompt a longer choice sees less, and equal choices see the same.
  std::vector<Choices> questions(3);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const auto prompt = draw(i == 1 ? length : 10);
    for (const int64_t choice : {3, 1, 1, 5}) {
      const std::ptrdiff_t lost = i == 1 ? choice : 0;
      questions[i].pairs.push_back({{prompt.begin() + lost, prompt.end()}, draw(choice)});
    }
  }
  std::vector<std::size_t> told;
  const auto nothing = [](std::size_t) { return std::optional<Likelihoods>(); };
  const auto together = choice_log_likelihoods(model, angles_of, table_of, questions, nothing,
                                               [&](std::size_t question, const auto&) { told.push_back(question); });
  CHECK(told == std::vector<std::size_t>{0, 1, 2});
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const auto alone = choice_log_likelihoods_alone(model, angles_of, questions[i]);
    for (std::size_t k = 0; k < 4; ++k) CHECK(together[i][k] == Approx(alone[k]).epsilon(1e-12));
  }
  // A question that is known is not asked again, whichever packs it is spread over.
  const auto all_but = [&](std::size_t left_out) {
    return [&, left_out](std::size_t i) { return i == left_out ? std::nullopt : std::optional(together[i]); };
  };
  for (const std::size_t left_out : {0, 1, 2}) {
    const auto again = choice_log_likelihoods(model, angles_of, table_of, questions, all_but(left_out),
                                              [&](std::size_t question, const auto&) { CHECK(question == left_out); });
    CHECK(again == together);
  }
}

}  // namespace qroar
