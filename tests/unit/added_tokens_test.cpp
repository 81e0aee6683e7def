// Where added tokens stand in a text.  The expected ones are those of Hugging Face's tokenizers 0.23.3.
#include "data/added_tokens.h"

#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

/// Reads tokens with the ids 0, 1, ..., each plain and not normalized unless it says otherwise.
std::vector<AddedToken> tokens_of(std::vector<Json> list) {
  Json all = Json::array();
  for (Json& token : list) {
    Json whole{{"id", all.size()}, {"special", false}, {"normalized", false}};
    whole.update(token);
    all.push_back(whole);
  }
  return read_added_tokens({{"added_tokens", all}}, "t.json");
}

/// Returns the sections of a text: an id for a token, else the text in brackets.
std::string sections(const std::vector<Json>& list, const std::string& text) {
  std::string result;
  for (const auto& section : AddedTokenFinder(tokens_of(list), false, Normalizer(nullptr, ""), "t.json").sections(text))
    result += section.id ? fmt::format("{} ", *section.id) : fmt::format("[{}] ", section.text);
  return result;
}

TEST_CASE("the longest plain token at a place is cut out, and a special one is text and hides what begins inside") {
  const std::vector<Json> tokens{{{"content", "<a>"}},
                                 {{"content", "<a><b>"}},
                                 {{"content", "<s<a>"}, {"special", true}},
                                 {{"content", "\u00f8"}}};
  CHECK(sections(tokens, "x<a>x<a><b><a><s<a>x<a") == "[x] 0 [x] 1 0 [<s<a>x<a] ");
  CHECK(sections(tokens, "<a><b") == "0 [<b] ");
  CHECK(sections(tokens, "\u00f8\u00f9\u00f8") == "3 [\u00f9] 3 ");
  CHECK(sections(tokens, "").empty());
  CHECK(sections({{{"content", "x"}, {"special", true}}}, "axb") == "[axb] ");
}

TEST_CASE("a token may take the white space beside it") {
  const Json both{{"content", "<a>"}, {"lstrip", true}, {"rstrip", true}};
  CHECK(sections({both}, "x \n\u3000<a>\u00a0\t b <a>") == "[x] 0 [b] 0 ");
  CHECK(sections({both}, "<a> <a>") == "0 0 ");
  CHECK(sections({both}, "x\x1c<a>") == "[x\x1c] 0 ");  // white space to Python, but not to Unicode
  CHECK(sections({{{"content", "<a>"}, {"rstrip", true}}}, " <a> b") == "[ ] 0 [b] ");
  CHECK(sections({{{"content", "<a>"}, {"lstrip", true}}}, " <a> b") == "0 [ b] ");
  CHECK(sections({both, {{"content", " "}}}, "x  <a>  b <a>") == "[x] 1 1 0 1 1 [b] 1 0 ");
  CHECK(sections({{{"content", " "}, {"rstrip", true}}}, "a   b") == "[a] 0 0 0 [b] ");
  CHECK(sections({{{"content", " x"}, {"lstrip", true}}}, "a   x") == "[a] 0 ");
  // White space that has been taken is not taken again by a token that takes it on both sides.
  CHECK(sections({{{"content", " "}, {"lstrip", true}, {"rstrip", true}}}, "a   b \n c") == "[a] 0 [b] 0 [c] ");
  CHECK(sections({{{"content", " "}, {"rstrip", true}}, {{"content", "\nb"}, {"lstrip", true}, {"rstrip", true}}},
                 "a \nb c") == "[a] 0 1 0 [c] ");
}

TEST_CASE("a normalized token is looked for as its normalizer makes it") {
  const Normalizer nfc({{"type", "NFC"}}, "t.json");
  const auto tokens = tokens_of({{{"content", "e\u0301"}, {"normalized", true}}, {{"content", "x"}}});
  const AddedTokenFinder before(tokens, false, nfc, "t.json"), behind(tokens, true, nfc, "t.json");
  CHECK(before.sections("e\u0301x").size() == 2);
  const auto found = behind.sections("\u00e9x");
  REQUIRE(found.size() == 2);
  CHECK(found[0].id == 0);
  CHECK(found[1].text == "x");
}

TEST_CASE("an added token that cannot be looked for is one line") {
  const auto error = [](const std::vector<Json>& list) { return error_text([&] { sections(list, ""); }); };
  const std::string remedy = "is not read here; tokenize with scripts/tokenize_texts.py instead";
  CHECK(contains(error({{{"content", ""}}}), "t.json: its added token {\"id\":0"));
  CHECK(contains(error({{{"content", std::string(257, 'a')}}}), remedy));
  CHECK(error({{{"content", std::string(256, 'a')}}}) == "(no error)");
  CHECK(contains(error({{{"content", "a"}, {"single_word", true}}}), remedy));
  CHECK(error({{{"content", "a"}, {"single_word", true}, {"special", true}}}) == "(no error)");
  CHECK(contains(error({{{"content", "a"}, {"odd", 1}}}), "has the key \"odd\", which is not read here"));
  CHECK(
      contains(error({{{"content", "a"}, {"id", 1 << 20}}}), "the token \"a\" has the id 1048576, not a number below"));
  CHECK(contains(error({{{"content", "a"}}, {{"content", "a"}}}), "its added token \"a\" is there twice"));
  const Normalizer none({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", ""}}, "t.json");
  const auto gone = tokens_of({{{"content", "a"}, {"normalized", true}}});
  CHECK(contains(error_text([&] { AddedTokenFinder(gone, true, none, "t.json"); }), "its added token of id 0 is \"\""));
}

TEST_CASE("tokens that take white space, and white space, do not take squares of time") {
  const std::vector<Json> tokens{{{"content", " "}, {"rstrip", true}},
                                 {{"content", "b"}, {"lstrip", true}},
                                 {{"content", std::string(200, 'a') + "c"}}};
  CHECK(sections(tokens, std::string(300'000, ' ')).size() == 600'000);
  CHECK(sections(tokens, std::string(300'000, 'a')).size() == 300'003);
}

}  // namespace
}  // namespace qroar
