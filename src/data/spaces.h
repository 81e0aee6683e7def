// White space as defined by Python for texts: what \s matches and str.strip() removes.
#pragma once
#include <algorithm>
#include <string_view>

namespace qroar {

/// In UTF-8.
inline constexpr std::string_view kSpaces[] = {
    " ",      "\t",     "\n",     "\r",     "\f",     "\v",     "\x1c",   "\x1d",   "\x1e",   "\x1f",
    "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
    "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

/// str.rstrip()
inline std::string_view without_space_behind(std::string_view text) {
  for (;;) {
    const auto space = std::ranges::find_if(kSpaces, [&](std::string_view mark) { return text.ends_with(mark); });
    if (space == std::end(kSpaces)) return text;
    text.remove_suffix(space->size());
  }
}

/// str.strip()
inline std::string_view stripped(std::string_view text) {
  text = without_space_behind(text);
  for (;;) {
    const auto space = std::ranges::find_if(kSpaces, [&](std::string_view mark) { return text.starts_with(mark); });
    if (space == std::end(kSpaces)) return text;
    text.remove_prefix(space->size());
  }
}

}  // namespace qroar
