// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#pragma once
#include <cstddef>
#include <string_view>

namespace qroar {

/// Bytes of the character that the text begins with; 0 where it begins with none.
std::size_t utf8_length(std::string_view text);

/// Bytes before the first that belongs to no character; the text's size where all do.
std::size_t utf8_prefix(std::string_view text);

}  // namespace qroar
