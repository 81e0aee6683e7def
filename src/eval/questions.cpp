#include "eval/questions.h"

#include "base/error.h"
#include "base/files.h"
#include "data/dataset.h"
#include "data/tokenizer.h"

namespace qroar {

std::string Question::text(const std::string& field) const {
  if (!fields.contains(field)) fail("{}: no \"{}\"", place, field);
  if (!fields[field].is_string()) fail("{}: \"{}\" is {}, not a text", place, field, fields[field].dump());
  return fields[field];
}

std::vector<Question> read_questions(const std::filesystem::path& file) {
  check_present(file);
  const std::string bytes = read_file(file);
  std::vector<Question> questions;
  int64_t number = 0;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view line(bytes.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string place = fmt::format("{}:{}", file.string(), number);
    Json fields = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!fields.is_object()) fail("{}: no JSON object; every line is one question", place);
    questions.push_back({place, std::move(fields)});
  }
  if (questions.empty()) fail("{}: holds no questions", file.string());
  return questions;
}

std::string read_pattern(const Config& config, const std::string& key, const std::string& fallback) {
  const auto pattern = config.get<std::string>(key, fallback);
  for (std::size_t i = 0; (i = pattern.find('{', i)) != pattern.npos;) {
    if (pattern.substr(i, 2) == "{{") {
      i += 2;
    } else if ((i = pattern.find('}', i)) == pattern.npos) {
      config.at(key).fail(fmt::format("'{}' has a brace that does not close; write {{{{ for one", pattern));
    }
  }
  return pattern;
}

std::string filled(const std::string& pattern, const Question& question) {
  std::string text;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
      text += c;
      ++i;
    } else if (c == '{') {
      const std::size_t end = pattern.find('}', i);
      check(end != pattern.npos, "a pattern's braces close");
      text += question.text(pattern.substr(i + 1, end - i - 1));
      i = end;
    } else {
      text += c;
    }
  }
  return text;
}

std::vector<TokenPair> encode_pairs(const Tokenizer& tokenizer, std::string context,
                                    const std::vector<std::string>& continuations) {
  const std::size_t end = context.find_last_not_of(" \t\n\r\v\f") + 1;
  const std::string spaces = context.substr(end);
  context.resize(end);
  const std::vector<int32_t> first = tokenizer.encode(context);
  std::vector<TokenPair> pairs;
  for (const std::string& continuation : continuations) {
    const std::vector<int32_t> whole = tokenizer.encode(context + spaces + continuation);
    const auto cut = std::min(std::ssize(first), std::ssize(whole));
    pairs.push_back({first, {whole.begin() + cut, whole.end()}});
  }
  return pairs;
}

}  // namespace qroar
