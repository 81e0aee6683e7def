// A pattern and, behind the byte 0x01, the text that it cuts, replaces and matches.
#include <algorithm>

#include "base/regex.h"
#include "data/byte_bpe.h"
#include "fuzz.h"

namespace qroar {
namespace {

/// The patterns of ours, for which Regex demands that they compile.
const char* const kOurs[] = {"(?s).+", "[!-/:-@\\[-`{-~]", "\\b(a|an|the)\\b", "\\s+", "(\\p{L}+)-(\\p{N}*)"};

}  // namespace

void fuzz_one(std::string_view input) {
  const auto parts = parts_of(input, 2);
  const std::string& text = parts[1];
  for (const char* pattern : kOurs) {
    const Regex regex(pattern);
    must(regex.replace_all(text, "$0").size() >= text.size(), "a match replaced by itself");
    must(regex.groups_of(text).size() <= 2, "groups");
  }
  const PieceRule rule(parts[0]);
  const auto pieces = rule.split(text);
  std::string joined;
  for (const std::string& piece : pieces) joined += piece;
  must(joined == text, "the pieces are the text");
  must(parts[0].empty() || std::ranges::none_of(pieces, &std::string::empty), "an empty piece");
  const auto prefixed = PieceRule(parts[0], /*prefix_space=*/true).split(text);
  joined.clear();
  for (const std::string& piece : prefixed) joined += piece;
  must(joined == (text.starts_with(' ') ? "" : " ") + text, "a space before the text");
}

}  // namespace qroar
