#include "base/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace qroar {
namespace {

/// Unicode 15, categories Cc, Cf, Zl and Zp.
constexpr std::pair<char32_t, char32_t> kUnseen[] = {
    {0x0, 0x1F},        {0x7F, 0x9F},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
    {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x180E, 0x180E},
    {0x200B, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x2064},   {0x2066, 0x206F},   {0xFEFF, 0xFEFF},
    {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F}};

/// Returns the code point of a valid character, or the value of a single byte.
char32_t code_of(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  char32_t code = lead & (0x7Fu >> character.size());
  for (const char c : character.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return code;
}

std::string escape_of(char32_t code) {
  switch (code) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
  }
  const auto number = static_cast<uint32_t>(code);
  return number < 0x100     ? fmt::format("\\x{:02x}", number)
         : number < 0x10000 ? fmt::format("\\u{:04x}", number)
                            : fmt::format("\\U{:08x}", number);
}

/// Returns the number of bytes of the first character; 0 where it is none, or not seen.
std::size_t seen_length(std::string_view text) {
  if (text[0] >= ' ' && text[0] < 0x7F) return 1;
  const std::size_t length = utf8_length(text);
  if (length == 0) return 0;
  const char32_t code = code_of(text.substr(0, length));
  const bool is_unseen =
      std::ranges::any_of(kUnseen, [&](const auto& range) { return range.first <= code && code <= range.second; });
  return is_unseen ? 0 : length;
}

/// Returns whether some bytes behind these make them one valid character.
bool can_go_on(std::string_view begun) {
  for (const char* more : {"\x80", "\xbf", "\x80\x80", "\xbf\xbf"}) {
    if (utf8_length(std::string(begun) + more) > begun.size()) return true;
  }
  return false;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const char32_t code = code_of(text.substr(0, length));
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code >= kSmallest[length] && code <= 0x10FFFF && !surrogate ? length : 0;
}

std::size_t utf8_prefix(std::string_view text) {
  std::size_t done = 0;
  while (const std::size_t length = utf8_length(text.substr(done))) done += length;
  return done;
}

bool holds_noncharacter(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(1, utf8_length(text.substr(i)));
    const char32_t code = code_of(text.substr(i, length));
    if ((code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF)) return true;
    i += length;
  }
  return false;
}

std::string with_replacements(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const std::size_t whole = utf8_prefix(text);
    valid += text.substr(0, whole);
    text.remove_prefix(whole);
    if (text.empty()) break;
    valid += "\ufffd";
    // What follows a byte that begins a character belongs to it as far as some bytes behind make it one.
    std::size_t begun = 1;
    while (begun < std::min<std::size_t>(text.size(), 3) && can_go_on(text.substr(0, begun + 1))) ++begun;
    text.remove_prefix(begun);
  }
  return valid;
}

std::size_t utf8_characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_visible(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = seen_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string visible(std::string_view text) {
  std::string seen;
  while (!text.empty()) {
    const std::size_t length = std::max<std::size_t>(utf8_length(text), 1);  // one byte where no character begins
    const std::string_view character = text.substr(0, length);
    seen += seen_length(text) > 0 ? std::string(character) : escape_of(code_of(character));
    text.remove_prefix(length);
  }
  return seen;
}

}  // namespace qroar
