// A pattern and, behind the byte 0x01, the text that it cuts, replaces and matches.
#include "base/regex.h"
#include "base/utf8.h"
#include "data/pattern.h"
#include "data/pre_tokenizer.h"
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
  std::size_t last = 0;
  Pattern(parts[0], "a").each_match(text, [&](std::size_t begin, std::size_t end) {
    must(last <= begin && begin <= end && end <= text.size(), "matches go on");  // an empty one cuts
    last = end;
  });
  if (utf8_prefix(parts[0]) < parts[0].size()) return;  // no JSON has it
  const Json split{{"type", "Split"}, {"pattern", {{"Regex", parts[0]}}}, {"behavior", "Isolated"}, {"invert", false}};
  std::string joined;
  PreTokenizer(split, "a").cut(text, /*at_start=*/true).each([&](std::string_view piece) {
    must(!piece.empty(), "an empty piece");
    joined += piece;
  });
  must(joined == text, "the pieces are the text");
}

}  // namespace qroar
