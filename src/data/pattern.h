// The regular expressions of a tokenizer.json.  They are written for Oniguruma, which the original tokenizers match
// them with; here PCRE2 does.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace qroar {

class Pattern {
 public:
  /// Throws an Error that begins with `file` for an expression that is wrong, or that the two engines read differently:
  /// \w, scripts, classes in classes, ß for (?i:ss) and more.
  Pattern(const std::string& expression, const std::string& file);

  /// Calls `found` with the begin and the end of each match, from left to right, also of an empty one before the end; a
  /// piece is seen as a whole text.  Throws an Error where a match needs more steps than PCRE2's limit, or where
  /// the piece holds U+180E and the expression may tell it from other signs.
  void each_match(std::string_view piece, const std::function<void(std::size_t, std::size_t)>& found) const;

 private:
  std::string file_;
  bool names_between_;          ///< a character from U+180E to U+200B, of which one stands for the other
  std::shared_ptr<void> code_;  ///< compiled by PCRE2
};

}  // namespace qroar
