#include "data/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

namespace qroar {
namespace {

std::string message_of(int error) {
  std::array<unsigned char, 256> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  return reinterpret_cast<const char*>(message.data());
}

pcre2_code* code_of(const std::shared_ptr<void>& code) { return static_cast<pcre2_code*>(code.get()); }

/// Returns the length of a character's code that both engines read alike, or 0: \xE9 is a byte to Oniguruma.
std::size_t alike_code(std::string_view rest) {
  const auto is_hex = [](unsigned char c) { return std::isxdigit(c) != 0; };
  if (rest.substr(2).starts_with('{')) return std::min(rest.find('}'), rest.size() - 1) + 1;
  return rest.size() >= 4 && rest[2] < '8' && std::all_of(rest.begin() + 2, rest.begin() + 4, is_hex) ? 4 : 0;
}

/// Returns the length of an escape that both engines read alike, or 0.  \p names a general category: PCRE2 takes a
/// script's name for the characters that may stand in texts of it, Oniguruma for those of the script.
std::size_t alike_escape(std::string_view rest) {
  const auto kind = rest.size() < 2 ? 'z' : rest[1];
  if (kind == 'x') return alike_code(rest);
  if (std::string_view("sSdDrntf").find(kind) != rest.npos || std::isalnum(static_cast<unsigned char>(kind)) == 0)
    return 2;
  if ((kind != 'p' && kind != 'P') || !rest.substr(2).starts_with('{')) return 0;
  const std::size_t end = std::min(rest.find('}'), rest.size());
  std::string_view name = rest.substr(3, end - 3);
  if (name.starts_with('^')) name.remove_prefix(1);
  return name.size() == 1 || name.size() == 2 ? end + 1 : 0;
}

/// Returns whether both engines ignore the case of a group's content alike: letters, apostrophes and sets of them.
/// Oniguruma also takes a character for those that it folds to (ß for ss), and a set's property without its case.
bool folds_alike(std::string_view content) {
  std::string letters;
  bool in_class = false;
  for (const char c : content) {
    if (std::isalpha(static_cast<unsigned char>(c)) == 0 && std::string_view("'|[]").find(c) == content.npos)
      return false;
    in_class = c == '[' || (in_class && c != ']');
    if (!in_class) letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return std::ranges::none_of(std::array{"ss", "st", "ff", "fi", "fl"},
                              [&](const char* folded) { return letters.find(folded) != letters.npos; });
}

/// Returns whether the count {n}? ends at `at`: so many or none to Oniguruma, so many to PCRE2.
bool is_optional_count(std::string_view expression, std::size_t at) {
  return expression.substr(at).starts_with("}?") && expression.find(',', std::min(expression.rfind('{', at), at)) > at;
}

/// Returns the length of a group's opening that both engines read alike, or 0.  Where options stand alone they last to
/// the end of the group in PCRE2, and of the alternative in Oniguruma, whose m is PCRE2's s.
std::size_t alike_group(std::string_view rest) {
  if (!rest.starts_with("(?")) return 1;
  if (rest.starts_with("(?i:")) return folds_alike(rest.substr(4, rest.find(')') - 4)) ? 4 : 0;
  for (const std::string_view opening : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
    if (rest.starts_with(opening)) return opening.size();
  }
  return 0;
}

/// Returns where an expression begins to be something that the engines read differently, or its size.
std::size_t first_unlike(std::string_view expression) {
  bool in_class = false;
  for (std::size_t at = 0; at < expression.size();) {
    const std::string_view rest = expression.substr(at);
    std::size_t length = 1;
    if (rest[0] == '\\') {
      length = alike_escape(rest);
    } else if (in_class) {
      in_class = rest[0] != ']';
      if (rest[0] == '[' || rest.starts_with("&&")) length = 0;  // sets in sets
    } else if (rest[0] == '[') {
      in_class = true;
      length = rest.starts_with("[^") ? 2 : 1;
      if (rest.substr(length).starts_with(']')) length = 0;
    } else if (rest[0] == '(') {
      length = alike_group(rest);
    } else if (rest.starts_with("{,") || rest.starts_with("}+") || is_optional_count(expression, at)) {
      length = 0;  // the range from 0, and once or more
    }
    if (length == 0) return at;
    at += length;
  }
  return expression.size();
}

/// Returns whether an expression names a character from U+180E to U+200B, as it has to where it tells these two apart.
bool names_between(std::string_view expression) {
  while (!expression.empty()) {
    const std::string_view character = expression.substr(0, std::max<std::size_t>(1, utf8_length(expression)));
    if (character >= "\u180e" && character <= "\u200b") return true;
    unsigned code = 0;
    if (expression.starts_with("\\x{"))
      std::from_chars(expression.data() + 3, expression.data() + expression.size(), code, 16);
    if (code >= 0x180E && code <= 0x200B) return true;
    expression.remove_prefix(character.size());
  }
  return false;
}

/// Memory for a match of any pattern; its groups are not asked for.
pcre2_match_data* match_memory() {
  thread_local const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> memory(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  return memory.get();
}

}  // namespace

Pattern::Pattern(const std::string& expression, const std::string& file)
    : file_(file), names_between_(names_between(expression)) {
  if (const std::size_t at = first_unlike(expression); at < expression.size()) {
    fail("{}: its pattern {} has at {} what is not read here: {}; tokenize with scripts/tokenize_texts.py instead",
         file, excerpt(expression), at, excerpt(expression.substr(at, 8)));
  }
  int error = 0;
  PCRE2_SIZE place = 0;
  // MULTILINE: ^ and $ of Oniguruma are at every line's ends.
  auto* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_MATCH_INVALID_UTF, &error, &place, nullptr);
  if (code == nullptr) {
    fail("{}: its pattern {} is wrong at {}: {}", file, excerpt(expression), place, message_of(error));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  code_ = std::shared_ptr<void>(code, [](void* c) { pcre2_code_free(static_cast<pcre2_code*>(c)); });
}

void Pattern::each_match(std::string_view piece, const std::function<void(std::size_t, std::size_t)>& found) const {
  // PCRE2 treats U+180E as white space, but Unicode since 6.3 and the original regex engines do not, so it is replaced
  // by another format character of three bytes for matching.
  std::string copy;
  if (std::size_t at = piece.find("\u180e"); at != piece.npos) {
    if (names_between_) {
      fail(
          "{}: its pattern may treat U+180E, which a text holds, unlike U+200B, and is not read here for such texts; "
          "tokenize with scripts/tokenize_texts.py instead",
          file_);
    }
    copy = piece;
    for (; at != copy.npos; at = copy.find("\u180e", at)) copy.replace(at, 3, "\u200b");
    piece = copy;
  }
  pcre2_match_data* const match = match_memory();
  const PCRE2_SIZE* const place = pcre2_get_ovector_pointer(match);
  std::size_t last = piece.npos;  // where the match before ended
  for (std::size_t from = 0; from < piece.size();) {
    const int groups =
        pcre2_match(code_of(code_), reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(), from, 0, match, nullptr);
    if (groups == PCRE2_ERROR_NOMATCH) return;
    if (groups < 0) {
      fail("{}: its pattern fails on a piece of {} bytes: {}; tokenize with scripts/tokenize_texts.py instead", file_,
           piece.size(), message_of(groups));
    }
    if (place[0] == place[1] && place[1] == last) {  // an empty match right behind another: on by a character
      from += std::max<std::size_t>(1, utf8_length(piece.substr(from)));
      continue;
    }
    from = last = place[1];
    found(place[0], place[1]);
  }
}

}  // namespace qroar
