#include "data/added_tokens.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "data/spaces.h"
#include "data/tokenizer_parts.h"

namespace qroar {
namespace {

constexpr const char* kPart = "added token";
constexpr std::size_t kMostBytes =
    256;  // twice the longest that families have; a text is compared with so much at each place

AddedToken read_added_token(const Json& json, const std::string& file) {
  check_keys(file, kPart, json, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = json.at("content");
  token.id = id_of(file, token.content, json.at("id"));
  token.is_special = json.value("special", false);
  token.is_normalized = json.value("normalized", !token.is_special);
  token.takes_space_before = json.value("lstrip", false);
  token.takes_space_behind = json.value("rstrip", false);
  const bool is_word = json.value("single_word", false) && !token.is_special;  // a special one is text at any place
  if (is_word || token.content.empty() || token.content.size() > kMostBytes) refuse(file, kPart, json);
  return token;
}

void sort_by_content(std::vector<AddedToken>& tokens, const std::string& file) {
  std::ranges::sort(tokens, {}, &AddedToken::content);
  const auto same = std::ranges::adjacent_find(tokens, {}, &AddedToken::content);
  if (same != tokens.end()) {
    fail("{}: its added token {} is there twice, with the ids {} and {}; remove one of them", file,
         excerpt(same->content), same->id, std::next(same)->id);
  }
}

/// Returns the number of bytes of white space that a text ends or begins with, as Unicode defines it: Python's without
/// the separators of ASCII.
std::size_t spaces_of(std::string_view text, bool at_end) {
  const std::size_t size = text.size();
  for (;;) {
    const auto space = std::ranges::find_if(kSpaces, [&](std::string_view mark) {
      return (mark < "\x1c" || mark > "\x1f") && (at_end ? text.ends_with(mark) : text.starts_with(mark));
    });
    if (space == std::end(kSpaces)) return size - text.size();
    at_end ? text.remove_suffix(space->size()) : text.remove_prefix(space->size());
  }
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const Json& tokenizer, const std::string& file) {
  std::vector<AddedToken> tokens;
  for (const Json& json : tokenizer.value("added_tokens", Json::array()))
    tokens.push_back(read_added_token(json, file));
  sort_by_content(tokens, file);
  return tokens;
}

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized, const Normalizer& normalizer,
                                   const std::string& file) {
  for (AddedToken token : tokens) {
    if (token.is_normalized != normalized) continue;
    if (normalized) token.content = normalizer.normalized(token.content);
    if (token.content.empty() || token.content.size() > kMostBytes) {
      fail(
          "{}: its added token of id {} is {} to its normalizer, which is not read here; tokenize with "
          "scripts/tokenize_texts.py instead",
          file, token.id, excerpt(token.content));
    }
    begins_[static_cast<unsigned char>(token.content[0])] = true;
    has_plain_ = has_plain_ || !token.is_special;
    tokens_.push_back(std::move(token));
  }
  sort_by_content(tokens_, file);
}

const AddedToken* AddedTokenFinder::longest(std::string_view text) const {
  const AddedToken* found = nullptr;
  std::span<const AddedToken> rest = tokens_;  // those that begin as the text does, up to the depth
  for (std::size_t depth = 0; !rest.empty(); ++depth) {
    if (rest.front().content.size() == depth) {
      found = &rest.front();
      rest = rest.subspan(1);
    }
    if (depth == text.size()) break;
    const auto byte = [depth](const AddedToken& token) { return static_cast<unsigned char>(token.content[depth]); };
    const auto next = static_cast<unsigned char>(text[depth]);
    if (rest.empty() || (byte(rest.front()) == next && byte(rest.back()) == next)) continue;  // all go on like this
    const auto same = std::ranges::equal_range(rest, next, {}, byte);
    rest = {same.begin(), same.end()};
  }
  return found;
}

std::vector<AddedTokenFinder::Section> AddedTokenFinder::sections(std::string_view text) const {
  std::vector<Section> sections;
  std::size_t done = 0;
  const auto add_text = [&](std::size_t end) {
    if (end > done) sections.push_back({text.substr(done, end - done), std::nullopt});
  };
  for (std::size_t at = 0; has_plain_ && at < text.size();) {
    const bool may_begin = begins_[static_cast<unsigned char>(text[at])];
    const AddedToken* const token = may_begin ? longest(text.substr(at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + token->content.size();
    at = end;  // even where white space behind it is taken, which may begin another one
    if (token->is_special) continue;
    // What lies before `done` is white space that another one has taken; to look at it again would take squares of
    // time.  A token that takes white space before it, too, is gone where all of it has been taken.
    if (token->takes_space_before)
      begin = begin > done ? begin - spaces_of(text.substr(done, begin - done), true) : done;
    if (token->takes_space_behind) end = std::max(end, done) + spaces_of(text.substr(std::max(end, done)), false);
    if (end <= begin) continue;
    add_text(begin);
    sections.push_back({text.substr(begin, end - begin), token->id});
    done = end;
  }
  add_text(text.size());
  return sections;
}

}  // namespace qroar
