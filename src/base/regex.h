// Regular expressions that know Unicode (PCRE2).
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace qroar {

/// A compiled pattern; character classes are Unicode's.  In the texts below, bytes that are not UTF-8 become U+FFFD
/// first.
class Regex {
 public:
  explicit Regex(const std::string& pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  /// Returns a text with every match replaced: $0 is the match, \L makes what follows lower case.
  std::string replace_all(const std::string& text, const std::string& replacement) const;

  /// Returns what the groups, one at least, match where the complete text matches; empty where it does not.
  std::vector<std::string> groups_of(const std::string& text) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace qroar
