// UTF-8 as defined by RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace qroar {

/// What some programs write in front of a text.
inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// Returns the number of bytes of the first character, or 0 where the text does not begin with a valid one.
std::size_t utf8_length(std::string_view text);

/// Returns the number of bytes before the first invalid one, which is the size of a valid text.
std::size_t utf8_prefix(std::string_view text);

/// Returns the text with U+FFFD in the place of what is not valid, one for each character that was begun, as Python's
/// errors="replace".
std::string with_replacements(std::string_view text);

/// Returns the number of characters of a valid text: bytes that do not continue another.
std::size_t utf8_characters(std::string_view text);

/// Returns whether a valid text holds a code point that Unicode gives to no character: U+FDD0 to U+FDEF and the last
/// two of each plane.
bool holds_noncharacter(std::string_view text);

/// Returns the text with escapes (\\n, \\x1b, \\u202e) in the place of what is not shown but acts: control characters,
/// those that turn the direction of text or are invisible (Unicode's Cc, Cf, Zl and Zp), and bytes that are not UTF-8.
/// What stood in a file thus cannot move a terminal's cursor, begin a line of its own or show as other text.
std::string visible(std::string_view text);
/// Returns whether visible() leaves the text as it is.
bool is_visible(std::string_view text);

}  // namespace qroar
