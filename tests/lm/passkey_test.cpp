// Where passkey hides its number.
#include <cmath>
#include <random>
#include <set>

#include "config/registry.h"
#include "eval/task.h"
#include "support/catch.h"
#include "support/decode.h"
#include "support/errors.h"
#include "support/llama.h"
#include "support/scratch.h"

namespace qroar {
namespace {

/// A token for each character of ASCII.
class Characters : public Tokenizer {
 public:
  std::vector<int32_t> encode(const std::string& text) const override { return {text.begin(), text.end()}; }
  std::string decode(std::span<const int32_t> ids) const override { return {ids.begin(), ids.end()}; }
  int64_t vocab_size() const override { return 128; }
};

/// Returns `count` characters of the text, over and over.
std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  while (all.size() < count) all += text;
  return all.substr(0, count);
}

}  // namespace

TEST_CASE("a hidden number follows from seed, length, depth and sample, and has five digits") {
  LlamaConfig llama = small_llama_config();
  llama.vocab_size = 128;
  const Llama model = random_llama(llama, at::kFloat, 11);
  const Scheme scheme{make_scheme("{type: none}"), llama};
  const Characters tokenizer;
  KeptParts parts;
  const std::function<void(double)> report = [](double) {};
  const auto task = Registry<Task>::instance().build(Config::parse(
      "{type: passkey, lengths: [320, 330], depths: [0, 0.25, 0.3], samples: 2, seed: 5, bos: false, new_tokens: 1}",
      "t.yaml"));
  task->load(tokenizer, llama, 330);  // a window that the longest fills
  const TaskResult found =
      task->run({model, [&](int64_t length) { return scheme.angles(length); },
                 [&](int64_t length) { return scheme.table(length); }, false, tokenizer, 330, report, parts});
  std::set<std::string> keys;
  for (const std::vector<std::string>& row : found.items.rows) {
    std::seed_seq seeds{int64_t{5}, static_cast<int64_t>(std::stoll(row[0])),
                        static_cast<int64_t>(std::llround(std::stod(row[1]) * 1e6)),
                        static_cast<int64_t>(std::stoll(row[2]))};
    std::mt19937_64 random(seeds);
    CHECK(row[3] == std::to_string(10'000 + random() % 90'000));
    keys.insert(row[3]);
  }
  CHECK(keys.size() == 12);
}

TEST_CASE("a length that leaves no token of filler or is longer than the window is refused, as are twins") {
  LlamaConfig llama = small_llama_config();
  const auto refusal = [&](const std::string& keys, int64_t window) {
    return error_text([&] {
      Registry<Task>::instance()
          .build(Config::parse("{type: passkey, samples: 1, bos: false, " + keys + "}", "t.yaml"))
          ->load(Characters(), llama, window);
    });
  };
  // 88 characters of head, 48 of the question and 69 of the needle, 8 new tokens, and one of filler.
  const int64_t least = 88 + 48 + 69 + 8 + 1;
  const auto of_length = [&](int64_t length, int64_t window) {
    return refusal(fmt::format("lengths: [{}], depths: [0]", length), window);
  };
  CHECK(of_length(least, least) == "(no error)");
  CHECK(contains(of_length(least - 1, least), fmt::format("the number and its question need {} tokens", least)));
  CHECK(contains(of_length(least + 1, least), fmt::format("more than windows.length {}", least)));
  CHECK(contains(refusal("lengths: [300, 300]", 400), "the same length twice"));
  CHECK(contains(refusal("lengths: [300], depths: [0.5, 0, 0.5]", 400), "the same depth twice"));
  CHECK(contains(refusal("lengths: [300], depths: [1.5]", 400), "a depth lies between 0 and 1, found 1.5"));
}

TEST_CASE(
    "a number is hidden behind its depth's share of the filler, and the prompt with its answer fills the length") {
  LlamaConfig llama = small_llama_config();
  llama.vocab_size = 128;
  llama.bos_token_id = 1;
  const Llama model = random_llama(llama, at::kDouble, 11);
  const Scheme scheme{make_scheme("{type: none}"), llama};
  const AnglesOf angles_of = [&](int64_t length) { return scheme.angles(length); };
  const TableOf table_of = [&](int64_t length) { return scheme.table(length); };
  const Characters tokenizer;
  KeptParts parts, others;
  const std::function<void(double)> report = [](double) {};
  const std::string head = "A number is hidden in the text below. Remember it: you will be asked for it at the end.\n",
                    question = "\nWhat is the secret number? The secret number is";
  for (const bool bos : {false, true}) {
    const std::string name = bos ? "with" : "without";
    const auto task = Registry<Task>::instance().build(Config::parse(
        fmt::format("{{type: passkey, name: {}, lengths: [330], depths: [0, 0.25, 1], samples: 1, bos: {}}}", name,
                    bos),
        "t.yaml"));
    task->load(tokenizer, llama, 400);
    const TaskResult found = task->run({model, angles_of, table_of, false, tokenizer, 400, report, parts});
    REQUIRE(found.items.rows.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const std::vector<std::string>& row = found.items.rows[i];
      const std::string needle =
          fmt::format(" The secret number is {}. Remember it: {} is the secret number.", row[3], row[3]);
      const std::size_t count = 330 - 8 - (bos ? 1 : 0) - head.size() - needle.size() - question.size(),
                        before = static_cast<std::size_t>(std::lround(std::stod(row[1]) * static_cast<double>(count)));
      const std::string filler = repeated(
          " The river runs past the mill, and the wheel turns all day. The miller sleeps. A cart comes up the road and "
          "goes.",
          count);
      const std::string prompt = head + filler.substr(0, before) + needle + filler.substr(before) + question;
      CHECK(prompt.size() + 8 + (bos ? 1 : 0) == 330);
      const std::string answer = greedy_answer({model, angles_of, table_of, false, tokenizer, 400, report, others},
                                               name + row[1], tokenizer.encode(prompt), bos, 8, nullptr);
      CHECK(row[4] == on_one_line(answer));
    }
    CHECK(found.items.rows[0][4] != found.items.rows[2][4]);  // the model's answers tell places apart
  }
}

TEST_CASE("what hides a number is part of the task's hash, and so is what ends an answer") {
  LlamaConfig llama = small_llama_config();
  llama.bos_token_id = 1;
  const Scratch scratch;
  const auto hash_of = [&](const std::string& text) {
    const auto file = scratch.write("text.txt", text);
    const auto task = Registry<Task>::instance().build(
        Config::parse(fmt::format("{{type: passkey, lengths: [330], filler: {}}}", file.string()), "t.yaml"));
    task->load(Characters(), llama, 400);
    return task->hash();
  };
  const std::string before = hash_of("The mill turns.");
  CHECK(hash_of("The mill turns.") == before);
  CHECK(hash_of("The wheel turns.") != before);  // under the same path
  llama.generation = "another end";
  CHECK(hash_of("The mill turns.") != before);
}

}  // namespace qroar
