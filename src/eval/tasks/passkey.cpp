// Retrieval over length and depth: a number is hidden at a depth of a text of some length, and asked for at its end
// (Mohtashami & Jaggi arXiv 2305.16300; with a real text as `filler`, a needle in a haystack).  The wording is ours.  A
// prompt and its answer have `length` tokens together; depth 0 hides the number at the beginning, 1 at the end.  The
// answer is decoded greedily and is right when its first number is the hidden one.  Rows: length, depth, sample, key,
// answer, right; the report plots accuracy over length and depth.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <random>

#include "base/error.h"
#include "base/hash.h"
#include "data/texts.h"
#include "eval/task.h"

namespace qroar {
namespace {

constexpr const char* kHead =
    "A number is hidden in the text below. Remember it: you will be asked for it at the end.\n";
constexpr const char* kFiller =
    " The river runs past the mill, and the wheel turns all day. The miller sleeps. A cart comes up the road and goes.";
constexpr const char* kNeedle = " The secret number is {}. Remember it: {} is the secret number.";
constexpr const char* kQuestion = "\nWhat is the secret number? The secret number is";

template <class T>
bool has_twins(std::vector<T> values) {
  std::ranges::sort(values);
  return std::ranges::adjacent_find(values) != values.end();
}

class Passkey : public Task {
 public:
  explicit Passkey(const Config& config)
      : config_(config),
        name_(config.get<std::string>("name", "passkey")),
        lengths_(config.get<std::vector<int64_t>>("lengths")),
        depths_(config.get<std::vector<double>>("depths", {0, 0.25, 0.5, 0.75, 1})),
        samples_(config.get<int64_t>("samples", 2, {1, 1000})),
        new_tokens_(config.get<int64_t>("new_tokens", 8, {1, 256})),
        seed_(config.get<int64_t>("seed", 0)),
        bos_(config.get<bool>("bos", true)) {
    if (config.has("filler")) filler_path_ = config.at("filler").as_file();
    if (lengths_.empty()) config.at("lengths").fail("expected lengths in tokens");
    if (depths_.empty()) config.at("depths").fail("expected depths from 0 to 1");
    if (has_twins(lengths_)) config.at("lengths").fail("the same length twice would count the same answers twice");
    if (has_twins(depths_)) config.at("depths").fail("the same depth twice would count the same answers twice");
    for (const double depth : depths_) {
      if (!(depth >= 0 && depth <= 1))
        config.at("depths").fail(fmt::format("a depth lies between 0 and 1, found {}", depth));
    }
  }

  void load(const Tokenizer& tokenizer, const LlamaConfig& llama, int64_t window) override {
    if (bos_) check_has_bos(config_, llama);
    warnings_ = llama.generation_warnings;
    const std::string text = filler_path_.empty() ? std::string(kFiller) : read_text(filler_path_);
    hash_ = hash_bytes(text + answers_hash(llama));
    head_ = tokenizer.encode(kHead);
    question_ = tokenizer.encode(kQuestion);
    filler_ = tokenizer.encode(text);
    if (filler_.empty()) fail("{}: holds no text", filler_path_.string());
    for (const int64_t length : lengths_) {
      int64_t longest = 0;
      for (const double depth : depths_) {
        for (int64_t sample = 0; sample < samples_; ++sample)
          longest = std::max(longest, std::ssize(needle_of(key_of(length, depth, sample), tokenizer)));
      }
      const int64_t fixed = std::ssize(head_) + std::ssize(question_) + longest + new_tokens_ + 1;
      if (length > window)
        config_.at("lengths").fail(fmt::format("{} tokens are more than windows.length {}", length, window));
      if (length < fixed)
        config_.at("lengths").fail(
            fmt::format("the number and its question need {} tokens, and the length is {}", fixed, length));
    }
  }
  const std::string& name() const override { return name_; }
  std::string hash() const override { return hash_; }
  std::vector<std::string> warnings() const override { return warnings_; }

  double flops(const LlamaConfig& llama) const override {
    double sum = 0;
    for (const int64_t length : lengths_) sum += forward_flops(llama, length);
    return sum * static_cast<double>(samples_) * static_cast<double>(depths_.size());
  }

  TaskResult run(const TaskInput& input) const override {
    TaskResult result;
    result.items.columns = {"length", "depth", "sample", "key", "answer", "right"};
    struct Answers {
      Moments right;
      ByCluster by_cluster;
      void add(const std::string& question, int64_t key, bool is_right) {
        right.add(is_right);
        by_cluster.add(question, fmt::format("{}/{}", question, key), is_right, 1);
      }
      MetricValue value(const std::string& name) const {
        return {name, right.mean(), right.standard_error(), right.count, by_cluster.all()};
      }
    };
    Answers all;
    std::map<int64_t, Answers> by_length;
    const double total = flops(input.model.config);
    double done = 0;
    for (const int64_t length : lengths_) {
      for (const double depth : depths_) {
        for (int64_t sample = 0; sample < samples_; ++sample) {
          const int64_t key = key_of(length, depth, sample);
          const std::string part = answer_part(name_, static_cast<std::size_t>(all.right.count));
          const std::string answer = answer_to(key, length, depth, part, input);
          const bool right = first_number(answer) == std::to_string(key);
          const std::string question = fmt::format("{}/{}/{}", length, depth, sample);
          all.add(question, key, right);
          by_length[length].add(question, key, right);
          result.items.rows.push_back({std::to_string(length), fmt::format("{}", depth), std::to_string(sample),
                                       std::to_string(key), on_one_line(answer), right ? "1" : "0"});
          done += forward_flops(input.model.config, length);
          input.report(done / total);
        }
      }
    }
    result.values.push_back(all.value(name_ + "/accuracy"));
    for (const auto& [length, answers] : by_length)
      result.values.push_back(answers.value(fmt::format("{}/accuracy_{}", name_, length)));
    return result;
  }

 private:
  static std::vector<int32_t> needle_of(int64_t key, const Tokenizer& tokenizer) {
    return tokenizer.encode(fmt::format(kNeedle, key, key));
  }

  /// Returns five digits, the same in every cell of a sweep.
  int64_t key_of(int64_t length, double depth, int64_t sample) const {
    std::seed_seq seeds{seed_, length, static_cast<int64_t>(std::llround(depth * 1e6)), sample};
    std::mt19937_64 random(seeds);
    return 10'000 + static_cast<int64_t>(random() % 90'000);
  }

  static std::string first_number(const std::string& text) {
    const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
    const auto begin = std::ranges::find_if(text, is_digit);
    return {begin, std::find_if_not(begin, text.end(), is_digit)};
  }

  std::string answer_to(int64_t key, int64_t length, double depth, const std::string& part,
                        const TaskInput& input) const {
    std::vector<int32_t> tokens;
    const auto append = [&](const std::vector<int32_t>& more) {
      tokens.insert(tokens.end(), more.begin(), more.end());
    };
    append(head_);
    const std::vector<int32_t> needle = needle_of(key, input.tokenizer);
    const int64_t filler =
        length - new_tokens_ - (bos_ ? 1 : 0) - std::ssize(tokens) - std::ssize(needle) - std::ssize(question_);
    const auto before = static_cast<int64_t>(std::llround(depth * static_cast<double>(filler)));
    for (int64_t i = 0; i < filler; ++i) {
      if (i == before) append(needle);
      tokens.push_back(filler_[static_cast<std::size_t>(i) % filler_.size()]);
    }
    if (before == filler) append(needle);
    append(question_);
    return greedy_answer(input, part, tokens, bos_, new_tokens_, nullptr);
  }

  Config config_;
  std::string name_;
  std::vector<int64_t> lengths_;
  std::vector<double> depths_;
  int64_t samples_, new_tokens_, seed_;
  bool bos_;
  std::filesystem::path filler_path_;
  std::vector<int32_t> head_, filler_, question_;
  std::string hash_;
  std::vector<std::string> warnings_;
};

const Register<Task, Passkey> kPasskey{"passkey", "a hidden number is asked for, over length and depth",
                                       "{type: passkey, lengths: [512], depths: [0, 0.5, 1], samples: 2}"};

}  // namespace
}  // namespace qroar
