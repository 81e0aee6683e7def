// Questions on long contexts with free answers, as LongBench (Bai et al. arXiv 2308.14508) evaluates them: greedy
// decoding up to a stop text, then exact match and token F1 against the best of several answers, both after SQuAD's
// normalization (lower case, no ASCII punctuation, no articles, single spaces).  A question is a line of a .jsonl file
// with the prompt's fields (LongBench: context, input) and the list `answers`.  A prompt that is too long loses its
// middle, as in LongBench; the row (`cut`) and the log have the number of such prompts.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/hash.h"
#include "base/regex.h"
#include "data/spaces.h"
#include "eval/questions.h"
#include "eval/task.h"

namespace qroar {
namespace {

/// Returns SQuAD's normalized words as Python computes them (except for a final capital sigma and the dotted capital
/// I).
std::vector<std::string> words_of(const std::string& text) {
  static const Regex all("(?s).+"), punctuation("[!-/:-@\\[-`{-~]"), articles("\\b(a|an|the)\\b"), spaces("\\s+");
  std::string plain = punctuation.replace_all(all.replace_all(text, "\\L$0"), "");
  plain = spaces.replace_all(articles.replace_all(plain, " "), " ");
  std::vector<std::string> words;
  std::istringstream stream(plain);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

double f1(const std::vector<std::string>& found, const std::vector<std::string>& wanted) {
  std::map<std::string, int64_t> left;
  for (const auto& word : wanted) ++left[word];
  int64_t same = 0;
  for (const auto& word : found) same += left[word]-- > 0 ? 1 : 0;
  if (same == 0) return 0;
  const double precision = static_cast<double>(same) / static_cast<double>(found.size());
  const double recall = static_cast<double>(same) / static_cast<double>(wanted.size());
  return 2 * precision * recall / (precision + recall);
}

struct Asked {
  std::string id, group, content;
  std::vector<int32_t> prompt;
  std::vector<std::string> answers;
};

class QuestionAnswering : public Task {
 public:
  explicit QuestionAnswering(const Config& config)
      : config_(config),
        path_(config.at("path").as_file()),
        name_(config.get<std::string>("name", path_.stem().string())),
        prompt_(config, "prompt", "{context}\n\nQuestion: {input}\nAnswer:"),
        stop_(config.get<std::string>("stop", "\n")),
        limit_(config.get<int64_t>("limit", 0, Range<int64_t>{.low = 0})),
        new_tokens_(config.get<int64_t>("new_tokens", 32, {1, 4096})),
        bos_(config.get<bool>("bos", true)) {}

  void load(const Tokenizer& tokenizer, const LlamaConfig& llama, int64_t window) override {
    if (bos_) check_has_bos(config_, llama);
    warnings_ = llama.generation_warnings;
    std::string hash;
    std::vector<Question> questions = read_questions(path_, hash);
    prompt_.check_fields(questions, path_);
    hash_ = hash_bytes(hash + answers_hash(llama));
    if (limit_ > 0 && std::ssize(questions) > limit_) questions.resize(static_cast<std::size_t>(limit_));
    const int64_t room = window - new_tokens_ - (bos_ ? 1 : 0);
    if (room < 2) {
      const Config place = config_.has("new_tokens") ? config_.at("new_tokens") : config_;
      place.fail(fmt::format("windows of {} tokens leave no room for {} new ones", window, new_tokens_));
    }
    for (const Question& question : questions) {
      Asked asked{question.id(), question.group(), question.content(), tokenizer.encode(prompt_.filled(question)),
                  question.texts("answers", 1)};
      if (asked.prompt.empty()) fail("{}: the prompt has no tokens", question.place);
      const int64_t over = std::ssize(asked.prompt) - room;
      if (over > 0) {
        const auto middle = asked.prompt.begin() + room / 2;
        asked.prompt.erase(middle, middle + over);
        ++cut_;
      }
      asked_.push_back(std::move(asked));
    }
    if (cut_ > 0)
      spdlog::warn("{}: {} of {} prompts are longer than the window of {} tokens and lose their middle", name_, cut_,
                   asked_.size(), window);
  }
  const std::string& name() const override { return name_; }
  std::string hash() const override { return hash_; }
  std::vector<std::string> warnings() const override { return warnings_; }

  double flops(const LlamaConfig& llama) const override {
    double sum = 0;
    for (const Asked& asked : asked_) sum += forward_flops(llama, std::ssize(asked.prompt));
    return sum;
  }

  TaskResult run(const TaskInput& input) const override {
    TaskResult result;
    result.items.columns = {"id", "answer", "exact_match", "f1"};
    Moments exact, overlap;
    ByCluster exact_by_cluster, overlap_by_cluster;
    for (const Asked& asked : asked_) {
      const std::string part = answer_part(name_, static_cast<std::size_t>(exact.count));
      const std::string answer = answer_to(asked, part, input);
      const auto found = words_of(answer);
      double same = 0, best = 0;
      for (const auto& text : asked.answers) {
        const auto wanted = words_of(text);
        // Of an answer such as "A", an article, no word is left: it is the text itself, and not any answer without
        // words.
        const bool is_same = wanted.empty() ? stripped(answer) == stripped(text) : found == wanted;
        same = std::max(same, is_same ? 1.0 : 0.0);
        best = std::max(best, wanted.empty() ? same : f1(found, wanted));
      }
      exact.add(same);
      overlap.add(best);
      exact_by_cluster.add(asked.group, asked.content, same, 1);
      overlap_by_cluster.add(asked.group, asked.content, best, 1);
      result.items.rows.push_back(
          {on_one_line(asked.id), on_one_line(answer), fmt::format("{:g}", same), csv_number(best)});
      input.report(static_cast<double>(exact.count) / static_cast<double>(asked_.size()));
    }
    result.values = {
        {name_ + "/exact_match", exact.mean(), exact.standard_error(), exact.count, exact_by_cluster.all()},
        {name_ + "/f1", overlap.mean(), overlap.standard_error(), overlap.count, overlap_by_cluster.all()}};
    if (cut_ > 0)
      result.values.push_back(
          {name_ + "/cut", static_cast<double>(cut_), std::numeric_limits<double>::quiet_NaN(), exact.count});
    return result;
  }

 private:
  std::string answer_to(const Asked& asked, const std::string& part, const TaskInput& input) const {
    const auto stops = [&](const std::string& said) { return said.find(stop_) != std::string::npos; };
    std::string answer = greedy_answer(input, part, asked.prompt, bos_, new_tokens_,
                                       stop_.empty() ? nullptr : std::function<bool(const std::string&)>(stops));
    if (!stop_.empty()) answer.resize(std::min(answer.size(), answer.find(stop_)));
    return answer;
  }

  Config config_;
  std::filesystem::path path_;
  std::string name_;
  PromptPattern prompt_;
  std::string stop_;
  int64_t limit_, new_tokens_;
  bool bos_;
  std::vector<Asked> asked_;
  std::string hash_;
  std::vector<std::string> warnings_;
  int64_t cut_ = 0;
};

const Register<Task, QuestionAnswering> kQa{"qa", "questions on long contexts: exact match and F1 (LongBench)",
                                            "{type: qa, path: data/qa.jsonl, new_tokens: 32}"};

}  // namespace
}  // namespace qroar
