#include "data/pre_tokenizer.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/utf8.h"
#include "data/byte_names.h"
#include "data/pattern.h"
#include "data/tokenizer_parts.h"

namespace qroar {
namespace {

constexpr const char* kPart = "pre-tokenizer";
constexpr std::size_t kMostSteps = 32;  // four times what families have: each goes over the complete text

/// GPT-2's pieces: contractions; words, numbers and other runs, each with the space before it; white space.
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What becomes of matches and of what lies between them: whether a run is joined to the one before it, from whether
/// each is a match.
struct Behavior {
  std::string_view name;
  bool (*joins)(bool before, bool now);
};
constexpr Behavior kBehaviors[] = {
    {"Isolated", [](bool, bool) { return false; }},
    {"Removed", [](bool, bool) { return false; }},
    {"MergedWithPrevious", [](bool before, bool now) { return now && !before; }},
    {"MergedWithNext", [](bool before, bool now) { return before && !now; }},
    {"Contiguous", [](bool before, bool now) { return before == now; }},
};

/// Returns the expression that matches a text as it is.
std::string expression_of(std::string_view text) {
  std::string expression;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0) expression += '\\';
    expression += c;
  }
  return expression;
}

/// Cuts pieces at the matches of a pattern; `inverted`: what lies between matches counts as the match.
Pieces split(const Pieces& pieces, const Pattern& pattern, const Behavior& behavior, bool inverted) {
  Pieces finer{.text = {}, .ends = {}, .at_start = pieces.at_start};
  finer.text.reserve(pieces.text.size());
  finer.ends.reserve(pieces.ends.size());
  const bool removes = behavior.name == "Removed";
  pieces.each([&](std::string_view piece) {
    std::size_t done = 0;
    bool before = false, is_first = true;
    const auto end_run = [&](std::size_t end, bool is_match) {
      const std::string_view run = piece.substr(done, end - done);
      done = end;
      if (removes && is_match) {
        finer.at_start = finer.at_start && (run.empty() || !finer.text.empty());
        return;
      }
      if (!is_first && behavior.joins(before, is_match)) finer.ends.pop_back();
      finer.add(run);
      before = is_match;
      is_first = false;
    };
    pattern.each_match(piece, [&](std::size_t begin, std::size_t end) {
      if (begin > done) end_run(begin, inverted);
      end_run(end, !inverted);
    });
    if (piece.size() > done) end_run(piece.size(), inverted);
  });
  // Empty matches cut, and are no pieces.
  std::erase(finer.ends, 0);
  finer.ends.erase(std::unique(finer.ends.begin(), finer.ends.end()), finer.ends.end());
  return finer;
}

}  // namespace

void Pieces::add(std::string_view piece) {
  text += piece;
  ends.push_back(text.size());
}

void Pieces::each(const std::function<void(std::string_view)>& action) const {
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    action(std::string_view(text).substr(begin, end - begin));
    begin = end;
  }
}

PreTokenizer::PreTokenizer(const Json& pre_tokenizer, const std::string& file) {
  if (!pre_tokenizer.is_null()) read(pre_tokenizer, file);
  if (steps_.size() > kMostSteps) {
    fail("{}: its pre-tokenizer has {} steps, more than {}; tokenize with scripts/tokenize_texts.py instead", file,
         steps_.size(), kMostSteps);
  }
}

void PreTokenizer::read(const Json& part, const std::string& file) {
  const std::string type = type_of(part);
  if (is_byte_level_) refuse(file, kPart, part);  // it would see bytes' names
  if (type == "Sequence") {
    check_keys(file, kPart, part, {"pretokenizers"});
    for (const Json& inner : part.at("pretokenizers")) read(inner, file);
  } else if (type == "ByteLevel") {
    read_byte_level(part, file);
  } else if (type == "Digits") {
    check_keys(file, kPart, part, {"individual_digits"});
    const Pattern pattern(part.value("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)", file);
    steps_.emplace_back([pattern](const Pieces& pieces) { return split(pieces, pattern, kBehaviors[0], false); });
  } else if (type == "Split") {
    read_split(part, file);
  } else if (type == "Metaspace") {
    read_metaspace(part, file);
  } else {
    refuse(file, kPart, part);
  }
}

void PreTokenizer::read_byte_level(const Json& part, const std::string& file) {
  check_keys(file, kPart, part, {"add_prefix_space", "trim_offsets", "use_regex"});  // offsets are not used here
  if (part.value("add_prefix_space", true)) {
    steps_.emplace_back([](const Pieces& pieces) {
      Pieces longer{.text = {}, .ends = {}, .at_start = pieces.at_start};
      pieces.each([&](std::string_view piece) {
        if (!piece.starts_with(' ')) longer.text += ' ';
        longer.add(piece);
      });
      return longer;
    });
  }
  if (part.value("use_regex", true)) {
    const Pattern pattern(kGpt2Pattern, file);
    steps_.emplace_back([pattern](const Pieces& pieces) { return split(pieces, pattern, kBehaviors[0], false); });
  }
  steps_.emplace_back([](const Pieces& pieces) {
    Pieces named{.text = {}, .ends = {}, .at_start = pieces.at_start};
    pieces.each([&](std::string_view piece) { named.add(name_of_bytes(piece)); });
    return named;
  });
  is_byte_level_ = true;
}

void PreTokenizer::read_split(const Json& part, const std::string& file) {
  check_keys(file, kPart, part, {"pattern", "behavior", "invert"});
  const Json& pattern = part.at("pattern");
  const auto* const behavior = std::ranges::find(kBehaviors, part.at("behavior").get<std::string>(), &Behavior::name);
  const std::string literal = literal_of(pattern);
  const bool is_regex = pattern.is_object() && pattern.size() == 1 && pattern.contains("Regex");
  if (behavior == std::end(kBehaviors) || (literal.empty() && !is_regex)) refuse(file, kPart, part);
  const Pattern compiled(is_regex ? pattern["Regex"].get<std::string>() : expression_of(literal), file);
  const bool inverted = part.value("invert", false);
  steps_.emplace_back(
      [=, chosen = *behavior](const Pieces& pieces) { return split(pieces, compiled, chosen, inverted); });
}

void PreTokenizer::read_metaspace(const Json& part, const std::string& file) {
  check_keys(file, kPart, part, {"replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"});
  const std::string mark = part.at("replacement"), scheme = part.value("prepend_scheme", "always");
  const bool is_known = scheme == "always" || scheme == "first" || scheme == "never";
  // Files from before 2024 use add_prefix_space, whose value false is combined with schemes that contradict its name.
  if (!is_known || !part.value("add_prefix_space", true) || mark.empty() || utf8_length(mark) != mark.size() ||
      part.value("str_rep", mark) != mark) {
    refuse(file, kPart, part);
  }
  // A piece begins the document to the original where its first character comes from the document's first one, or from
  // none as a mark does, so that several pieces may.
  if (scheme == "first" && has_marks_) refuse(file, kPart, part);
  marks_start_ = marks_start_ || scheme == "first";
  marks_first_piece_ = marks_first_piece_ || (scheme == "first" && !steps_.empty());
  has_marks_ = has_marks_ || scheme != "never";
  const bool cuts = part.value("split", true);
  steps_.emplace_back([=](const Pieces& pieces) {
    Pieces marked{.text = {}, .ends = {}, .at_start = pieces.at_start};
    bool prepends = scheme == "always" || (scheme == "first" && pieces.at_start);
    pieces.each([&](std::string_view piece) {
      std::string text = replaced(piece, " ", mark);
      if (prepends && !text.starts_with(mark)) text.insert(0, mark);
      prepends = scheme == "always";
      for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = cuts ? std::min(text.find(mark, begin + 1), text.size()) : text.size();
        marked.add(std::string_view(text).substr(begin, end - begin));
        begin = end;
      }
    });
    return marked;
  });
}

Pieces PreTokenizer::cut(std::string text, bool at_start) const {
  Pieces pieces{.text = {}, .ends = {}, .at_start = at_start};
  if (!text.empty()) pieces.ends.push_back(text.size());
  pieces.text = std::move(text);
  for (const Step& step : steps_) pieces = step(std::move(pieces));
  return pieces;
}

}  // namespace qroar
