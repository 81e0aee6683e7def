// Regular expressions over Unicode.
#include "base/regex.h"

#include "support/catch.h"

namespace qroar {

TEST_CASE("replacing knows Unicode's letters, spaces and word boundaries") {
  const auto lower = [](const std::string& text) { return Regex("(?s).+").replace_all(text, "\\L$0"); };
  CHECK(lower("École ÜBER\nΑΒΓ Жук ĲSSEL 12!") == "école über\nαβγ жук ĳssel 12!");
  CHECK(lower("") == "");
  CHECK(Regex("\\s+").replace_all("l'été a\u00a0la  fin", " ") == "l'été a la fin");
  CHECK(Regex("\\b(a|an|the)\\b").replace_all("the thé a-b an été", "_") == "_ thé _-b _ été");
  CHECK(Regex("x").replace_all(std::string(3000, 'x'), "yy") == std::string(6000, 'y'));
}

TEST_CASE("bytes that are no UTF-8 are replaced like those of a broken decoder") {
  CHECK(Regex("(?s).+").replace_all("A\xff"
                                    "B\xe2\x82",
                                    "\\L$0") ==
        "a\ufffd"
        "b\ufffd\ufffd");
  CHECK(Regex("x").replace_all("\xc3", "y") == "\ufffd");
}

TEST_CASE("groups are those of a match of the complete text") {
  const Regex form("(?s).*?([0-9]+)-([a-z]*)");
  CHECK(form.groups_of("x\ny 12-ab") == std::vector<std::string>{"12", "ab"});
  CHECK(form.groups_of("\xff 7-") == std::vector<std::string>{"7", ""});
  CHECK(form.groups_of("12-ab.").empty());
  CHECK(form.groups_of("").empty());
}

}  // namespace qroar
