// Replacement by regular expressions that know Unicode (PCRE2).
#pragma once
#include <string>

namespace qroar {

/// A UTF-8 text with every match of `pattern` replaced: $0 is the match, \L what follows in lower case.  Character
/// classes are Unicode's.  Bytes that are no UTF-8 become U+FFFD first.
std::string replace_all(const std::string& text, const std::string& pattern, const std::string& replacement);

}  // namespace qroar
