// Unicode's normal forms: examples of UAX 15, and texts that are meant to take long.
#include "base/normal_form.h"

#include "support/catch.h"

namespace qroar {
namespace {

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

TEST_CASE("letters and their marks become one character in NFC and several in NFD") {
  const std::pair<const char*, const char*> pairs[] = {
      {"Cafe\u0301 au lait", "Caf\u00e9 au lait"},
      {"A\u030a \u212b \u2126", "\u00c5 \u00c5 \u03a9"},
      {"\u1100\u1161\u11a8", "\uac01"},
      {"e\u0323\u0302", "\u1ec7"},
      {"a\u0301\u0323", "\u1ea1\u0301"},  // sorted by their classes first
      {"\u0301e", "\u0301e"},
      {"ab\u0301", "ab\u0301"},    // there is no such letter
      {"\u0958", "\u0915\u093c"},  // excluded from composition
      {"\u00e9\u0323\n\u1ec7", "\u1eb9\u0301\n\u1ec7"},
      {"", ""},
      {"plain ASCII\n", "plain ASCII\n"}};
  for (const auto& [text, composed] : pairs) {
    CAPTURE(text);
    CHECK(normal_form(text, NormalForm::nfc) == composed);
    CHECK(normal_form(composed, NormalForm::nfc) == composed);
    CHECK(normal_form(normal_form(text, NormalForm::nfd), NormalForm::nfc) == composed);
  }
  CHECK(normal_form("x\u1ec7y\uac01", NormalForm::nfd) == "xe\u0323\u0302y\u1100\u1161\u11a8");
  CHECK(normal_form("\ufb01 \u212b \u2460 \u00bd", NormalForm::nfc) == "\ufb01 \u00c5 \u2460 \u00bd");
}

TEST_CASE("the forms of compatibility write ligatures, circles and widths as plain letters") {
  CHECK(normal_form("\ufb01 \u2460 \uff21\u3000b", NormalForm::nfkc) == "fi 1 A b");
  CHECK(normal_form("\ufb01e\u0301", NormalForm::nfkd) == "fie\u0301");
  CHECK(normal_form("\ufb01e\u0301", NormalForm::nfkc) == "fi\u00e9");
  CHECK(normal_form("\ufdfa", NormalForm::nfkc).size() == 33);
}

TEST_CASE("bytes that are not UTF-8 stay, and what stands around them is brought into the form") {
  CHECK(normal_form("e\u0301\xff"
                    "e\u0301\xcc",
                    NormalForm::nfc) ==
        "\u00e9\xff"
        "\u00e9\xcc");
  CHECK(normal_form("\xff\u0301", NormalForm::nfc) == "\xff\u0301");
  CHECK(normal_form("\xed\xa0\x80", NormalForm::nfd) == "\xed\xa0\x80");  // a surrogate
}

TEST_CASE("half a million marks in one row are sorted in a moment") {
  const int count = 250'000;
  const std::string above = "\u0301", below = "\u0323";
  const std::string sorted = "q" + repeated(below, count) + repeated(above, count);
  CHECK(normal_form("q" + repeated(above, count) + repeated(below, count), NormalForm::nfc) == sorted);
  CHECK(normal_form("q" + repeated(above + below, count), NormalForm::nfd) == sorted);
}

}  // namespace
}  // namespace qroar
