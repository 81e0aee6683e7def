// Regular expressions over Unicode.
#include "base/regex.h"

#include "support/catch.h"

namespace qroar {

TEST_CASE("replacing knows Unicode's letters, spaces and word boundaries") {
  const auto lower = [](const std::string& text) { return replace_all(text, "(?s).+", "\\L$0"); };
  CHECK(lower("École ÜBER\nΑΒΓ Жук ĲSSEL 12!") == "école über\nαβγ жук ĳssel 12!");
  CHECK(lower("") == "");
  CHECK(replace_all("l'été a\u00a0la  fin", "\\s+", " ") == "l'été a la fin");
  CHECK(replace_all("the thé a-b an été", "\\b(a|an|the)\\b", "_") == "_ thé _-b _ été");
  CHECK(replace_all(std::string(3000, 'x'), "x", "yy") == std::string(6000, 'y'));
}

TEST_CASE("bytes that are no UTF-8 are replaced like those of a broken decoder") {
  CHECK(replace_all("A\xff"
                    "B\xe2\x82",
                    "(?s).+", "\\L$0") ==
        "a\ufffd"
        "b\ufffd\ufffd");
  CHECK(replace_all("\xc3", "x", "y") == "\ufffd");
}

}  // namespace qroar
