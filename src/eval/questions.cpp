#include "eval/questions.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "base/error.h"
#include "data/dataset.h"
#include "data/spaces.h"
#include "data/texts.h"
#include "data/tokenizer.h"

namespace qroar {
namespace {

/// Returns the names of all fields, in the order of their first appearance.
std::vector<std::string> fields_of(const std::vector<Question>& questions) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Question& question : questions) {
    for (const auto& [name, value] : question.fields.items()) {
      if (seen.insert(name).second) names.push_back(name);
    }
  }
  return names;
}

}  // namespace

std::string Question::id() const {
  const auto found = fields.find("id");
  if (found == fields.end()) return place;
  if (found->is_number_integer()) return found->dump();
  return text("id");
}

std::string Question::group() const {
  if (!fields.contains("group")) return fields.contains("id") ? id() : std::filesystem::path(place).filename().string();
  const std::string group = text("group");
  if (const std::string wrong = group_error(group); !wrong.empty()) fail("{}: \"group\" {}", place, wrong);
  return group;
}

std::string Question::text(const std::string& field) const {
  const auto found = fields.find(field);
  if (found == fields.end()) fail("{}: no \"{}\"", place, field);
  if (!found->is_string()) fail("{}: \"{}\" is {}, not a text", place, field, excerpt(*found));
  return *found;
}

std::vector<std::string> Question::texts(const std::string& field, std::size_t least) const {
  const auto found = fields.find(field);
  if (found == fields.end()) fail("{}: no \"{}\"", place, field);
  const auto is_text = [](const Json& one) { return one.is_string(); };
  if (!found->is_array() || found->size() < least || !std::ranges::all_of(*found, is_text)) {
    fail("{}: \"{}\" is {}, not a list of {}", place, field, excerpt(*found),
         least > 1 ? "two texts or more" : "texts");
  }
  return *found;
}

std::string Question::asked() const {
  Json rest = fields;
  for (const char* name : {"id", "group"}) rest.erase(name);
  return rest.dump();
}

std::vector<Question> read_questions(const std::filesystem::path& file, std::string& hash) {
  check_present(file);
  std::string own;
  const std::string bytes = read_text(file, &own);
  hash += own;
  std::vector<Question> questions;
  std::map<std::string, int64_t> line_of;  // by id
  int64_t number = 0;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view line(bytes.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string place = fmt::format("{}:{}", file.string(), number);
    questions.push_back({place, parse_json_object(line, {file.string(), number, "every line is one question"})});
    const auto [first, is_new] = line_of.emplace(questions.back().id(), number);
    if (!is_new) {
      fail(
          "{}: \"id\" is that of line {}, too; give every question its own, and a \"group\" to those that belong "
          "together",
          place, first->second);
    }
  }
  if (questions.empty()) fail("{}: holds no questions", file.string());
  return questions;
}

PromptPattern::PromptPattern(const Config& config, const std::string& key, const std::string& fallback)
    : text_(config.get<std::string>(key, fallback)),
      is_default_(!config.has(key)),
      place_(is_default_ ? config : config.at(key)) {
  read_pieces();
}

void PromptPattern::fail(const std::string& message) const {
  place_.fail(
      fmt::format("{}{}: {}", is_default_ ? "the prompt that is taken without one, " : "", excerpt(text_), message));
}

void PromptPattern::read_pieces() {
  std::string literal;
  for (std::size_t i = 0; i < text_.size();) {
    const char c = text_[i];
    const bool is_brace = c == '{' || c == '}';
    if (is_brace && i + 1 < text_.size() && text_[i + 1] == c) {
      if (c == '{') note_doubled(i);
      literal += c;
      i += 2;
    } else if (c == '{') {
      const std::size_t end = text_.find('}', i);
      if (end == text_.npos) fail("a brace that does not close; write {{ for one");
      const std::string name = text_.substr(i + 1, end - i - 1);
      if (name.empty()) fail("{} names no field");
      if (stripped(name) != name) fail(fmt::format("{{{}}} has blanks; write {{{}}}", name, stripped(name)));
      pieces_.push_back({std::exchange(literal, ""), false});
      pieces_.push_back({name, true});
      i = end + 1;
    } else if (c == '}') {
      fail("a brace that does not open; write }} for one");
    } else {
      literal += c;
      ++i;
    }
  }
  pieces_.push_back({literal, false});
}

void PromptPattern::note_doubled(std::size_t begin) {
  const std::size_t end = text_.find_first_of("{}", begin + 2);
  if (end == text_.npos || text_.compare(end, 2, "}}") != 0) return;
  const std::string_view inner = stripped(std::string_view(text_).substr(begin + 2, end - begin - 2));
  const auto in_name = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  const auto name_end = std::ranges::find_if_not(inner, in_name);
  doubled_.emplace_back(std::string(inner.begin(), name_end), text_.substr(begin, end + 2 - begin));
}

void PromptPattern::check_fields(const std::vector<Question>& questions, const std::filesystem::path& file) const {
  const std::vector<std::string> known = fields_of(questions);
  const auto is_known = [&](const std::string& name) { return std::ranges::find(known, name) != known.end(); };
  for (const auto& [name, all] : doubled_) {
    if (is_known(name)) {
      fail(fmt::format("{} is the same text in every question, not the field of {}; write {{{}}} for that", all,
                       file.string(), name));
    }
  }
  for (const auto& [name, is_field] : pieces_) {
    if (!is_field || is_known(name)) continue;
    const std::string near = nearest(name, known);
    fail(fmt::format("no question of {} has the field {}; {}they have {}", file.string(), excerpt(name),
                     near.empty() ? "" : fmt::format("did you mean '{}'? ", near), excerpt(known)));
  }
  if (std::ranges::none_of(pieces_, &Piece::is_field)) {
    fail(fmt::format(
        "without a field every question is the same; write {{name}} where a field belongs: those of {} are {}",
        file.string(), excerpt(known)));
  }
}

std::string PromptPattern::filled(const Question& question) const {
  std::string text;
  for (const auto& [piece, is_field] : pieces_) text += is_field ? question.text(piece) : piece;
  return text;
}

std::vector<TokenPair> encode_pairs(const Tokenizer& tokenizer, std::string context,
                                    const std::vector<std::string>& continuations) {
  const std::size_t end = without_space_behind(context).size();
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
