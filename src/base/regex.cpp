#include "base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>

#include "base/error.h"

namespace qroar {
namespace {

PCRE2_SPTR bytes(const std::string& text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

using Match = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

Match match_of(const pcre2_code* code) {
  return {pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free};
}

/// Replaces each byte that is not valid UTF-8 with U+FFFD.
std::string with_valid_utf8(const pcre2_code* code, std::string text) {
  const Match match = match_of(code);
  constexpr const char* kUnknown = "\ufffd";
  while (true) {
    const int found = pcre2_match(code, bytes(text), text.size(), 0, 0, match.get(), nullptr);
    const bool is_invalid = found <= PCRE2_ERROR_UTF8_ERR1 && found >= PCRE2_ERROR_UTF8_ERR21;
    if (!is_invalid) return text;
    text.replace(pcre2_get_startchar(match.get()), 1, kUnknown);
  }
}

}  // namespace

struct Regex::Compiled {
  std::string pattern;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code;
};

Regex::Regex(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE place = 0;
  pcre2_code* const code =
      pcre2_compile(bytes(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &place, nullptr);
  check(code != nullptr, "a pattern of ours compiles");
  compiled_.reset(new Compiled{pattern, {code, pcre2_code_free}});
}
Regex::~Regex() = default;

std::string Regex::replace_all(const std::string& text, const std::string& replacement) const {
  const auto& [pattern, code] = *compiled_;
  const std::string subject = with_valid_utf8(code.get(), text);
  std::string result(subject.size() + 64, '\0');
  for (;;) {
    PCRE2_SIZE length = result.size();
    const int found = pcre2_substitute(
        code.get(), bytes(subject), subject.size(), 0,
        PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_EXTENDED | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH, nullptr, nullptr,
        bytes(replacement), replacement.size(), reinterpret_cast<PCRE2_UCHAR*>(result.data()), &length);
    if (found != PCRE2_ERROR_NOMEMORY) {
      if (found < 0) fail("'{}' cannot be replaced (PCRE2 error {})", pattern, found);
      result.resize(length);
      return result;
    }
    result.resize(length);
  }
}

std::vector<std::string> Regex::groups_of(const std::string& text) const {
  const pcre2_code* const code = compiled_->code.get();
  const std::string subject = with_valid_utf8(code, text);
  const Match match = match_of(code);
  const int found =
      pcre2_match(code, bytes(subject), subject.size(), 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, match.get(), nullptr);
  std::vector<std::string> groups;
  const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(match.get());
  for (std::size_t group = 1; static_cast<int>(group) < found; ++group) {
    const PCRE2_SIZE begin = ends[2 * group];
    groups.push_back(begin == PCRE2_UNSET ? "" : subject.substr(begin, ends[2 * group + 1] - begin));
  }
  return groups;
}

}  // namespace qroar
