// Unicode's normal forms (UAX 15), by utf8proc.
#pragma once
#include <string>
#include <string_view>

namespace qroar {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// Returns the normal form of a text; bytes that are not UTF-8 stay as they are.  Takes O(n log n), and memory for at
/// most 11 times the text, which is what U+FDFA grows to.
std::string normal_form(std::string_view text, NormalForm form);

}  // namespace qroar
