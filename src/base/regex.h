// Regular expressions that know Unicode (PCRE2).
#pragma once
#include <string>
#include <vector>

namespace qroar {

/// A UTF-8 text with every match of `pattern` replaced: $0 is the match, \L what follows in lower case.  Character
/// classes are Unicode's.  Bytes that are no UTF-8 become U+FFFD first.
std::string replace_all(const std::string& text, const std::string& pattern, const std::string& replacement);

/// What the groups of `pattern`, one at least, match where all of `text` matches it; empty where it does not.  Bytes
/// that are no UTF-8 become U+FFFD first.
std::vector<std::string> groups_of(const std::string& text, const std::string& pattern);

}  // namespace qroar
