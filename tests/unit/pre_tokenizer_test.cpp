// How texts are cut into pieces.  The expected ones are those of Hugging Face's tokenizers 0.23.3.
#include "data/pre_tokenizer.h"

#include "data/normalizer.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

using Texts = std::vector<std::string>;

Texts cut(const Json& pre_tokenizer, const std::string& text, bool at_start = true) {
  Texts pieces;
  const Pieces found = PreTokenizer(pre_tokenizer, "t.json").cut(text, at_start);
  found.each([&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

Json split(const std::string& pattern, const char* behavior = "Isolated", bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

std::string error_of(const Json& pre_tokenizer) {
  return error_text([&] { PreTokenizer(pre_tokenizer, "t.json"); });
}

TEST_CASE("Split keeps matches apart, joins them to a side or to each other, or removes them") {
  const std::tuple<const char*, Texts, Texts> behaviors[] = {
      {"Isolated", {"1", "ab", "2", "3", "c", "4"}, {"1", "ab", "2", "3", "c", "4"}},
      {"Removed", {"ab", "c"}, {"1", "2", "3", "4"}},
      {"MergedWithPrevious", {"1", "ab2", "3", "c4"}, {"1ab", "2", "3c", "4"}},
      {"MergedWithNext", {"1ab", "2", "3c", "4"}, {"1", "ab2", "3", "c4"}},
      {"Contiguous", {"1", "ab", "23", "c", "4"}, {"1", "ab", "23", "c", "4"}}};
  for (const auto& [behavior, plain, inverted] : behaviors) {
    CAPTURE(behavior);
    CHECK(cut(split("\\d", behavior), "1ab23c4") == plain);
    CHECK(cut(split("\\d", behavior, true), "1ab23c4") == inverted);
    CHECK(cut(split("\\d", behavior), "").empty());
  }
  CHECK(cut({{"type", "Split"}, {"pattern", {{"String", "."}}}, {"behavior", "MergedWithPrevious"}}, "a.b..c") ==
        Texts{"a.", "b.", ".", "c"});
  CHECK(cut(split("^b|c$"), "bc\nbc\nb") == Texts{"b", "c", "\n", "b", "c", "\n", "b"});  // lines' ends, as in Ruby
  CHECK(cut(nullptr, "a b") == Texts{"a b"});
}

TEST_CASE("an empty match cuts, as in Oniguruma") {
  CHECK(cut(split("(?=(\\d{3})+(?!\\d))"), "a1234567b") == Texts{"a1", "234", "567b"});
  CHECK(cut(split("\\d*|b"), "b12\u00e9b") == Texts{"b", "12", "\u00e9", "b"});
  CHECK(cut(split("(?=b)", "MergedWithNext"), "abcb") == Texts{"a", "bc", "b"});
  CHECK(cut(split("(?=b)", "Contiguous"), "abcb") == Texts{"a", "bc", "b"});
}

TEST_CASE("a pattern that names the Mongolian vowel separator or its like is an Error for a text that holds it") {
  const auto error = [](const Json& part, const char* text) { return error_text([&] { cut(part, text); }); };
  for (const char* pattern :
       {"[\\x{1800}-\\x{18AF}]+", "[\u1800-\u18af]", "\\x{180e}", "\u180e", "a|\u200b", "[^\u2003]"}) {
    CAPTURE(pattern);
    CHECK(
        contains(error(split(pattern), "a\u180e"), "t.json: its pattern may treat U+180E, which a text holds, unlike"));
    CHECK(error(split(pattern), "a\u200b\u1820") == "(no error)");
  }
  const Json literal{{"type", "Split"}, {"pattern", {{"String", "\u180e"}}}, {"behavior", "Isolated"}};
  CHECK(contains(error(literal, "a\u180e"), "U+180E"));
  CHECK(cut(split("[\u0800-\u4e00]+"), "a\u180eb") == Texts{"a", "\u180e", "b"});
  CHECK(cut(split("\\s|[\\x{80}-\\x{ffff}]b"), "a\u180eb") == Texts{"a", "\u180eb"});
}

TEST_CASE("the parts of a sequence cut the pieces of the part before, which sees no others") {
  const Json byte_level{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const auto sequence = [](const std::vector<Json>& parts) {
    return Json{{"type", "Sequence"}, {"pretokenizers", parts}};
  };
  CHECK(cut(sequence({split("\\d"), split("a(?=1)|b$"), byte_level}), "a1 ab") == Texts{"a", "1", "\u0120a", "b"});
  CHECK(cut(sequence({{{"type", "Digits"}, {"individual_digits", false}}, {{"type", "ByteLevel"}}}), "it's 12") ==
        Texts{"\u0120it", "'s", "\u0120", "\u012012"});
  CHECK(contains(error_of(sequence({byte_level, split("a")})), "its pre-tokenizer {\"type\":\"Split\""));
}

TEST_CASE("Metaspace puts its mark before every piece, or before what begins a document") {
  const auto mark = [](const char* scheme, bool cuts) {
    return Json{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", cuts}};
  };
  CHECK(cut(mark("first", true), "a  b") == Texts{"▁a", "▁", "▁b"});
  CHECK(cut(mark("first", true), "a  b", false) == Texts{"a", "▁", "▁b"});
  CHECK(cut(mark("always", false), "a b", false) == Texts{"▁a▁b"});
  CHECK(cut(mark("never", false), "a b") == Texts{"a▁b"});
  const auto behind = [&](const char* scheme, const char* behavior) {
    return cut({{"type", "Sequence"}, {"pretokenizers", {split("\\d", behavior), mark(scheme, true)}}}, "1a2");
  };
  CHECK(behind("first", "Isolated") == Texts{"▁1", "a", "2"});
  CHECK(behind("first", "Removed") == Texts{"a"});
  CHECK(behind("always", "Isolated") == Texts{"▁1", "▁a", "▁2"});
  const auto twice = [&](const char* scheme) {
    return error_of({{"type", "Sequence"}, {"pretokenizers", {mark(scheme, true), split("a"), mark("first", true)}}});
  };
  CHECK(twice("never") == "(no error)");
  CHECK(contains(twice("first"), "is not read here"));  // a mark comes from no place, so that two pieces begin the text
}

TEST_CASE("another pre-tokenizer, key, value or number of steps is one line") {
  const std::string remedy = "is not read here; tokenize with scripts/tokenize_texts.py instead";
  CHECK(error_of({{"type", "Whitespace"}}) == "t.json: its pre-tokenizer {\"type\":\"Whitespace\"} " + remedy);
  CHECK(contains(error_of("ByteLevel"), remedy));
  CHECK(contains(error_of({{"type", "ByteLevel"}, {"odd", 1}}), "has the key \"odd\", which is not read here"));
  CHECK(contains(error_of(split("a", "Odd")), remedy));
  CHECK(contains(error_of({{"type", "Split"}, {"pattern", {{"String", ""}}}, {"behavior", "Isolated"}}), remedy));
  for (const Json& more : {Json{{"replacement", "ab"}}, Json{{"replacement", ""}}, Json{{"prepend_scheme", "last"}},
                           Json{{"add_prefix_space", false}}}) {
    Json metaspace{{"type", "Metaspace"}, {"replacement", "▁"}};
    metaspace.update(more);
    CHECK(contains(error_of(metaspace), remedy));
  }
  const Json many{{"type", "Sequence"}, {"pretokenizers", std::vector<Json>(33, {{"type", "Digits"}})}};
  CHECK(contains(error_of(many), "t.json: its pre-tokenizer has 33 steps, more than 32"));
}

TEST_CASE("a pattern that the original engine reads otherwise is refused, with the place") {
  for (const char* pattern : {"\\w",   "\\p{Han}", "\\pL",        "[a[b]]",      "[a&&b]",         "[]a]",
                              "(?i)a", "(?m:.)",   "(?<x>a)",     "a{1,2}+",     "a{,2}",          "\\h",
                              "\\b",   "\\1",      "\\",          "[\\w]",       "a{2}?",          "\\xe4\\xb8\\x80",
                              "\\x4",  "(?i:Ss)",  "(?i:s(?:s))", "(?i:\u00df)", "(?i:[\\p{Ll}0])"}) {
    CAPTURE(pattern);
    CHECK(contains(error_of(split(pattern)), "t.json: its pattern \""));
    CHECK(contains(error_of(split(pattern)), "what is not read here: "));
  }
  CHECK(contains(error_of(split("a{1,2}b{1}+")), "has at 9 what"));
  CHECK(contains(error_of(split("(a")), "t.json: its pattern \"(a\" is wrong at 2: "));
  for (const char* pattern : {"(?:'s|[^\\r\\n\\p{L}\\p{^Lu}])?+\\p{N}{1,3}", "[!\"#&'()\\[\\\\\\]^_]", "\\s+(?!\\S)",
                              "(?<=a)\\x{41}+\\x41", "'(?i:[sdmt]|ll|ve|re)", "a{1,2}?"})
    CHECK(error_of(split(pattern)) == "(no error)");
}

TEST_CASE("a normalizer replaces and prepends in its order, within bounds") {
  const Json prepend{{"type", "Prepend"}, {"prepend", "▁"}};
  const auto replace = [](const std::string& from, const std::string& to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const auto normalized = [](const std::vector<Json>& parts, const std::string& text) {
    return Normalizer({{"type", "Sequence"}, {"normalizers", parts}}, "t.json").normalized(text);
  };
  CHECK(normalized({prepend, replace(" ", "▁")}, "a  b") == "▁a▁▁b");
  CHECK(normalized({replace("a", ""), prepend}, "aa").empty());
  CHECK(normalized({{{"type", "NFKC"}}, replace("fi", "x")}, "\ufb01") == "x");
  CHECK(normalized({}, "e\u0301") == "e\u0301");
  const auto error = [&](const std::vector<Json>& parts) {
    return error_text([&] { normalized(parts, "aaaa aaaa"); });
  };
  CHECK(
      contains(error({replace("a", std::string(50, 'b'))}), "t.json: its normalizer makes a text more than 32 times"));
  CHECK(contains(error(std::vector<Json>(16, replace("a", "aa"))), "more than 32 times as long"));
  CHECK(contains(error({{{"type", "Prepend"}, {"prepend", std::string(400, 'b')}}}), "more than 32 times as long"));
  CHECK(contains(error(std::vector<Json>(33, prepend)), "its normalizer has 33 steps, more than 32"));
  CHECK(contains(error({{{"type", "Lowercase"}}}), "its normalizer {\"type\":\"Lowercase\"} is not read here"));
  CHECK(contains(error({{{"type", "NFC"}, {"odd", 1}}}), "has the key \"odd\""));
}

}  // namespace
}  // namespace qroar
