#include "base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>

#include "base/error.h"

namespace qroar {
namespace {

PCRE2_SPTR bytes(const std::string& text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

/// Each byte that cannot be read becomes U+FFFD.
std::string with_valid_utf8(const pcre2_code* code, std::string text) {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
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
  int error = 0;
  PCRE2_SIZE place = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(bytes(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &place, nullptr), pcre2_code_free);
  check(code != nullptr, "a pattern of ours compiles");
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

}  // namespace qroar
