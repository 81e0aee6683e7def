// Multiple choice by log-likelihood as in lm-evaluation-harness (EleutherAI; arc_easy, arc_challenge, hellaswag, piqa,
// boolq, winogrande ...).  A question is a line of a .jsonl file with `label`, the index of the right choice from 0 on,
// and the list `choices`, unless `choices` is set in the task.  acc selects the choice with the largest summed ln p,
// acc_norm the one with the largest per character of the choice; standard errors are those of a mean.
//   prompt      the context, with {field} for a field of the line
//   delimiter   between context and choice
//   blank       a text in the prompt that is replaced by each choice in turn; the continuation that is scored is what
//               follows it (winogrande's partial evaluation); acc_norm is left out
//   shots       the number of questions that precede with their answers: those of `shots_path`, else the file's own
//               first ones, which then are not asked
//   pad         {path: TEXT, tokens: N}: the text's first tokens precede every prompt that fits N tokens, the same
//               number of them, with which the longest such prompt has N tokens with its answer (the papers' tables of
//               4K and 32K windows).  What precedes the questions is then equal and goes through the model once.
//   bos         BOS precedes every context (in the harness, where add_bos_token or else the tokenizer requires it)
// A sequence longer than the window loses its beginning, BOS first, as in the harness: each choice separately, so that
// the longer choices of a question see less of the prompt.  The row (`cut`) and the log have the number of questions
// with a shortened choice.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/hash.h"
#include "data/spaces.h"
#include "data/texts.h"
#include "eval/choices.h"
#include "eval/fit.h"
#include "eval/questions.h"
#include "eval/task.h"

namespace qroar {
namespace {

/// Returns the number of characters of a UTF-8 text.
int64_t characters(const std::string& text) {
  return std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
}

struct Asked {
  std::string id, group, content;
  std::vector<std::string> choices;
  std::size_t label;
};

class MultipleChoice : public Task {
 public:
  explicit MultipleChoice(const Config& config)
      : config_(config),
        path_(config.at("path").as_file()),
        name_(config.get<std::string>("name", path_.stem().string())),
        prompt_(config, "prompt", "{query}"),
        delimiter_(config.get<std::string>("delimiter", " ")),
        separator_(config.get<std::string>("separator", "\n\n")),
        blank_(config.get<std::string>("blank", "")),
        limit_(config.get<int64_t>("limit", 0, Range<int64_t>{.low = 0})),
        shots_(config.get<int64_t>("shots", 0, {0, 1000})),
        bos_(config.get<bool>("bos", false)) {
    if (config.has("choices")) {
      choices_ = config.get<std::vector<std::string>>("choices");
      if (const std::string wrong = choice_error(choices_); !wrong.empty()) config.at("choices").fail(wrong);
    }
    if (config.has("shots_path")) {
      shots_path_ = config.at("shots_path").as_file();
      if (shots_ == 0) config.at("shots_path").fail("none of its questions is shown; set shots");
    }
    if (config.has("pad")) {
      pad_path_ = config.at("pad").at("path").as_file();
      pad_tokens_ = config.at("pad").get<int64_t>("tokens");
      if (pad_tokens_ < 2) config.at("pad").at("tokens").fail("at least 2");
    }
  }

  void load(const Tokenizer& tokenizer, const LlamaConfig& llama, int64_t window) override {
    if (bos_) check_has_bos(config_, llama);
    std::vector<Question> questions = read_questions(path_, hash_), shown;
    prompt_.check_fields(questions, path_);
    if (!shots_path_.empty()) {
      shown = read_questions(shots_path_, hash_);
      prompt_.check_fields(shown, shots_path_);
    } else {
      shown = questions;
      questions.erase(questions.begin(), questions.begin() + std::min(shots_, std::ssize(questions)));
    }
    if (shots_ > std::ssize(shown))
      config_.at("shots").fail(fmt::format("{} shots are asked for and {} questions are there", shots_, shown.size()));
    if (questions.empty()) config_.at("shots").fail(fmt::format("no question is left beside {} shots", shots_));
    if (limit_ > 0 && std::ssize(questions) > limit_) questions.resize(static_cast<std::size_t>(limit_));
    std::string before;
    std::map<std::string, std::string> place_of;  // what is shown
    for (int64_t i = 0; i < shots_; ++i) {
      const Question& one = shown[static_cast<std::size_t>(i)];
      before += shot(one) + separator_;
      place_of.emplace(one.asked(), one.place);
    }
    for (const Question& question : questions) {
      if (const auto twin = place_of.find(question.asked()); twin != place_of.end())
        fail("{}: is the question of {}, which is shown with its answer before it; take other shots", question.place,
             twin->second);
    }
    std::vector<int32_t> padding;
    if (!pad_path_.empty()) {
      std::string hash;
      padding = tokenizer.encode(read_text(pad_path_, &hash));
      hash_ += hash;
      hash_ += "shared";  // rows of when each prompt was padded by itself are other rows
    }
    for (const Question& question : questions) {
      const Asked& asked = asked_.emplace_back(asked_in(question));
      tokens_.push_back(tokenized(question, asked.choices, before, tokenizer));
    }
    pad(tokens_, padding, pad_tokens_, bos_ ? llama.bos_token_id : std::nullopt, pad_path_);
    for (std::size_t i = 0; i < questions.size(); ++i) cut_ += cut(tokens_[i], window, questions[i].place) ? 1 : 0;
    if (cut_ > 0)
      spdlog::warn("{}: {} of {} prompts are longer than the window of {} tokens and lose their beginning", name_, cut_,
                   asked_.size(), window);
  }

  const std::string& name() const override { return name_; }
  std::string hash() const override { return hash_bytes(hash_); }

  double flops(const LlamaConfig& llama) const override {
    const auto each = choice_flops(llama, tokens_);
    return std::accumulate(each.begin(), each.end(), 0.0);
  }

  TaskResult run(const TaskInput& input) const override {
    const auto work = choice_flops(input.model.config, tokens_);
    const double total = std::accumulate(work.begin(), work.end(), 0.0);
    double done = 0;
    const auto known = [&](std::size_t question) -> std::optional<Likelihoods> {
      const Json* found = input.parts.find(answer_part(name_, question));
      const auto is_number = [](const Json& one) { return one.is_number(); };  // JSON has no NaN
      if (found == nullptr || !std::ranges::all_of(*found, is_number)) return std::nullopt;
      return found->get<Likelihoods>();
    };
    const auto answered = [&](std::size_t question, const Likelihoods& found) {
      input.parts.add(answer_part(name_, question), found);
      done += work[question];
      input.report(done / total);
    };
    const auto likelihoods =
        choice_log_likelihoods(input.model, input.angles_of, input.table_of, tokens_, known, answered);
    Moments right, right_normed;
    ByCluster right_by_cluster, right_normed_by_cluster;
    TaskResult result;
    result.items.columns = {"id", "label", "choice", "choice_norm", "log_likelihoods"};
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      const Asked& asked = asked_[i];
      std::vector<double> normed = likelihoods[i];
      for (std::size_t k = 0; k < normed.size(); ++k) normed[k] /= static_cast<double>(characters(asked.choices[k]));
      if (!std::ranges::all_of(likelihoods[i], [](double x) { return std::isfinite(x); })) {
        fail("{}: the log-likelihoods of question '{}' are not finite; check the weights, or try dtype: float32", name_,
             on_one_line(asked.id));
      }
      const std::size_t choice = best(likelihoods[i], asked.choices), choice_norm = best(normed, asked.choices);
      const double is_right = choice == asked.label ? 1 : 0, is_right_normed = choice_norm == asked.label ? 1 : 0;
      right.add(is_right);
      right_normed.add(is_right_normed);
      right_by_cluster.add(asked.group, asked.content, is_right, 1);
      right_normed_by_cluster.add(asked.group, asked.content, is_right_normed, 1);
      std::string all;
      for (const double x : likelihoods[i]) all += fmt::format("{}{:.9g}", all.empty() ? "" : " ", x);
      result.items.rows.push_back({on_one_line(asked.id), std::to_string(asked.label), std::to_string(choice),
                                   blank_.empty() ? std::to_string(choice_norm) : "", all});
    }
    result.values.push_back(
        {name_ + "/acc", right.mean(), right.standard_error(), right.count, right_by_cluster.all()});
    if (blank_.empty())
      result.values.push_back({name_ + "/acc_norm", right_normed.mean(), right_normed.standard_error(), right.count,
                               right_normed_by_cluster.all()});
    if (cut_ > 0)
      result.values.push_back(
          {name_ + "/cut", static_cast<double>(cut_), std::numeric_limits<double>::quiet_NaN(), right.count});
    return result;
  }

 private:
  /// Returns the first choice of the text that has the best score: equal texts may differ in last bits.
  static std::size_t best(const std::vector<double>& scores, const std::vector<std::string>& choices) {
    const auto at = static_cast<std::size_t>(std::ranges::max_element(scores) - scores.begin());
    return static_cast<std::size_t>(std::ranges::find(choices, choices[at]) - choices.begin());
  }

  /// Returns why texts cannot be choices, or nothing.
  static std::string choice_error(const std::vector<std::string>& choices) {
    if (choices.size() < 2) return "expected two texts or more";
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (choices[i].empty()) return fmt::format("choice {} is empty", i);
    }
    return "";
  }

  Asked asked_in(const Question& question) const {
    Asked asked{question.id(), question.group(), question.content(),
                choices_.empty() ? question.texts("choices", 2) : choices_, 0};
    if (const std::string wrong = choice_error(asked.choices); !wrong.empty()) fail("{}: {}", question.place, wrong);
    const auto label = question.fields.find("label");
    if (label == question.fields.end()) fail("{}: no \"label\"", question.place);
    const bool fits = label->is_number_integer() && *label >= 0 && *label < asked.choices.size();
    if (!fits) {
      fail("{}: \"label\" is {}, and the {} choices are counted from 0", question.place, excerpt(*label),
           asked.choices.size());
    }
    asked.label = *label;
    const auto first = std::ranges::find(asked.choices, asked.choices[asked.label]) - asked.choices.begin();
    if (static_cast<std::size_t>(first) != asked.label) {
      fail("{}: choice {}, the right one, is the same text as choice {}, which would always be taken before it",
           question.place, asked.label, first);
    }
    return asked;
  }

  /// Returns the prompt before and after its blank.
  std::pair<std::string, std::string> split_at_blank(const Question& question) const {
    const std::string text = prompt_.filled(question);
    const std::size_t at = text.find(blank_);
    if (at == text.npos) fail("{}: no {} in {}", question.place, excerpt(blank_), excerpt(text));
    return {text.substr(0, at), std::string(stripped(std::string_view(text).substr(at + blank_.size())))};
  }

  std::string shot(const Question& question) const {
    const Asked asked = asked_in(question);
    const std::string& answer = asked.choices[asked.label];
    if (blank_.empty()) return prompt_.filled(question) + delimiter_ + answer;
    const auto [before, after] = split_at_blank(question);
    return before + answer + delimiter_ + after;
  }

  Choices tokenized(const Question& question, const std::vector<std::string>& choices, const std::string& before,
                    const Tokenizer& tokenizer) const {
    Choices tokens;
    if (blank_.empty()) {
      std::vector<std::string> continuations;
      for (const std::string& choice : choices) continuations.push_back(delimiter_ + choice);
      tokens.pairs = encode_pairs(tokenizer, before + prompt_.filled(question), continuations);
    } else {
      const auto [start, end] = split_at_blank(question);
      for (const std::string& choice : choices)
        tokens.pairs.push_back(encode_pairs(tokenizer, before + start + choice, {delimiter_ + end}).front());
    }
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (tokens.pairs[i].continuation.empty())
        fail("{}: the choice {} has no tokens", question.place, excerpt(choices[i]));
      if (tokens.pairs[i].context.empty()) fail("{}: the prompt has no tokens", question.place);
    }
    return tokens;
  }

  Config config_;
  std::filesystem::path path_, shots_path_, pad_path_;
  std::string name_;
  PromptPattern prompt_;
  std::string delimiter_, separator_, blank_;
  int64_t limit_, shots_, pad_tokens_ = 0;
  bool bos_;
  std::vector<std::string> choices_;
  std::vector<Asked> asked_;
  std::vector<Choices> tokens_;  ///< one for each of asked_
  std::string hash_;
  int64_t cut_ = 0;
};

const Register<Task, MultipleChoice> kMultipleChoice{
    "multiple_choice", "multiple choice by log-likelihood: acc and acc_norm as in lm-evaluation-harness",
    "{type: multiple_choice, path: data/bench/arc_easy.jsonl, prompt: \"Question: {query}\\nAnswer:\"}"};

}  // namespace
}  // namespace qroar
