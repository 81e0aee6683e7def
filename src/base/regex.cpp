#include "base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>

#include "base/error.h"

namespace qroar {
namespace {

PCRE2_SPTR bytes(const std::string& text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

using Code = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;
using Match = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

Code compiled(const std::string& pattern, uint32_t options) {
  int error = 0;
  PCRE2_SIZE place = 0;
  Code code(pcre2_compile(bytes(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | options, &error, &place, nullptr),
            pcre2_code_free);
  check(code != nullptr, "a pattern of ours compiles");
  return code;
}

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

std::string replace_all(const std::string& text, const std::string& pattern, const std::string& replacement) {
  const Code code = compiled(pattern, 0);
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

std::vector<std::string> groups_of(const std::string& text, const std::string& pattern) {
  const Code code = compiled(pattern, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL);
  const std::string subject = with_valid_utf8(code.get(), text);
  const Match match = match_of(code.get());
  const int found = pcre2_match(code.get(), bytes(subject), subject.size(), 0, 0, match.get(), nullptr);
  std::vector<std::string> groups;
  const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(match.get());
  for (std::size_t group = 1; static_cast<int>(group) < found; ++group) {
    const PCRE2_SIZE begin = ends[2 * group];
    groups.push_back(begin == PCRE2_UNSET ? "" : subject.substr(begin, ends[2 * group + 1] - begin));
  }
  return groups;
}

}  // namespace qroar
