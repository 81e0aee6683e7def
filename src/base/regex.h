// Unicode regular expressions (PCRE2).
#pragma once
#include <string>
#include <vector>

namespace qroar {

/// Returns a UTF-8 text with every match of `pattern` replaced: $0 is the match, \L turns the following text to lower
/// case.  Character classes are those of Unicode.  Bytes that are not valid UTF-8 are first replaced with U+FFFD.
std::string replace_all(const std::string& text, const std::string& pattern, const std::string& replacement);

/// Returns the text of each group of `pattern`, which has at least one, if all of `text` matches, else an empty vector.
/// Bytes that are not valid UTF-8 are first replaced with U+FFFD.
std::vector<std::string> groups_of(const std::string& text, const std::string& pattern);

}  // namespace qroar
