#include "data/texts.h"

#include "base/utf8.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

using namespace std::string_literals;

std::string error_of(const std::string& bytes, const std::string& name = "x.txt") {
  return error_text([&] { parse_texts(bytes, name); });
}

std::string error_of_line(const std::string& line) {
  return error_of("{\"id\": \"a\", \"text\": \"good\"}\n" + line + "\n", "x.jsonl");
}

TEST_CASE("characters of UTF-8 are those of RFC 3629") {
  for (const std::string& good : {"a"s, "\0"s, "\x7f"s, "\u0080"s, "\u07ff"s, "\u0800"s, "\ud7ff"s, "\ue000"s,
                                  "\uffff"s, "\U00010000"s, "\U0010ffff"s}) {
    CAPTURE(good);
    CHECK(utf8_length(good + "x") == good.size());
    CHECK(utf8_length(good.substr(0, good.size() - 1)) == 0);
  }
  // Continuations alone, overlong forms, surrogates, beyond U+10FFFF, bytes that stand nowhere, a character that breaks
  // off.
  for (const std::string& bad : {"\x80"s, "\xbf"s, "\xc0\x80"s, "\xc1\xbf"s, "\xe0\x9f\xbf"s, "\xf0\x8f\xbf\xbf"s,
                                 "\xed\xa0\x80"s, "\xed\xbf\xbf"s, "\xf4\x90\x80\x80"s, "\xf5\x80\x80\x80"s, "\xfe"s,
                                 "\xff"s, "\xe2\x82 "s, "\xf0\x9f\x98"s, "\xc3("s}) {
    CAPTURE(bad);
    CHECK(utf8_length(bad) == 0);
    CHECK(utf8_prefix("ab\u20ac" + bad) == 5);
  }
  CHECK(utf8_prefix("") == 0);
}

TEST_CASE("a text that is not UTF-8 is an Error with the byte, its line and a command that mends it") {
  CHECK(
      error_of("one\ntw\xf6 three") ==
      "x.txt:2: the byte 0xf6 at offset 6 is no UTF-8 text; convert it from what it is in (Latin-1: iconv -f latin1 -t "
      "utf-8 x.txt > NEW), or leave such bytes out: iconv -c -f utf-8 -t utf-8 x.txt > NEW");
  CHECK(error_of("\xff\xfeO\0n\0"s) ==
        "x.txt:1: the byte 0xff at offset 0 is no UTF-8 text; convert it: iconv -f utf-16 -t utf-8 x.txt > NEW");
  CHECK(contains(error_of("\xfe\xff\0O\0n"s), "offset 0 is no UTF-8 text; convert it: iconv -f utf-16 -t"));
  CHECK(contains(error_of("\xff\xfe\0\0O\0\0\0"s), "iconv -f utf-32 -t"));
  CHECK(contains(error_of("\0\0\xfe\xff\0\0\0O"s), "iconv -f utf-32 -t"));
  CHECK(error_of("O\0n\0c\0e\0"s) ==
        "x.txt:1: the byte 0x00 at offset 1 is no UTF-8 text; convert it: iconv -f utf-16le -t utf-8 x.txt > NEW");
  CHECK(contains(error_of("\0O\0n\0c\0e"s), "offset 0 is no UTF-8 text; convert it: iconv -f utf-16be"));
  CHECK(contains(error_of("A text with one\0 in it."s),
                 "offset 15 is no UTF-8 text; leave it out: tr -d '\\000' < x.txt"));
  CHECK(contains(error_of("fine\n\xed\xa0\x80"), "x.txt:2: the byte 0xed at offset 5"));  // a surrogate
  CHECK(contains(error_of("fine\xc0\xaf"), "the byte 0xc0 at offset 4"));                 // overlong
  CHECK(contains(error_of("cut off \xe2\x82"), "the byte 0xe2 at offset 8"));
  CHECK(contains(error_of("{\"text\": \"a\"}\n{\"text\": \"\xe4\"}\n", "x.jsonl"),
                 "x.jsonl:2: the byte 0xe4 at offset 24 is no UTF-8 text"));
  const Scratch scratch;
  const auto file = scratch.write("pad.txt", "\xff\xfeO\0"s);
  CHECK(contains(error_text([&] { read_text(file); }), file.string() + ":1: the byte 0xff"));
}

TEST_CASE("a byte order mark in front is no part of a text, one within is") {
  const std::string mark = "\xef\xbb\xbf";
  const auto texts = parse_texts(mark + "Once " + mark, "x.txt");
  REQUIRE(texts.size() == 1);
  CHECK(texts[0].text == "Once " + mark);
  CHECK(texts[0].bytes == 8);
  CHECK(parse_texts(mark + "{\"id\": \"a\", \"text\": \"Once\"}", "x.jsonl")[0].text == "Once");
  const Scratch scratch;
  CHECK(read_text(scratch.write("pad.txt", mark + "pad")) == "pad");
}

TEST_CASE("what JSON lines may not hold is one line that says what it is") {
  const std::string surrogate =
      ": an escape from \\ud800 to \\udfff alone is half of a surrogate pair and no character; every line is one "
      "object with \"id\" and \"text\"";
  CHECK(error_of_line(R"({"id": "b", "text": "\ud800"})") == "x.jsonl:2:28" + surrogate);
  CHECK(contains(error_of_line(R"({"id": "b", "text": "\ud800x"})"), surrogate));
  CHECK(contains(error_of_line(R"({"id": "b", "text": "\udc00"})"), surrogate));
  CHECK(contains(error_of_line(R"({"id": "\ud83d", "text": "x"})"), surrogate));
  CHECK(contains(error_of_line(R"({"id": "surrogate U+D", "text": })"), "broken JSON"));
  CHECK(contains(error_of_line(R"({"id": "b", "text": "x", "score": 1e999})"),
                 "x.jsonl:2:40: the number 1e999 is beyond what double holds"));
  CHECK(error_of_line(R"({"id": "b", "text": "x", "text": "y"})") ==
        "x.jsonl:2:31: the key \"text\" stands twice; every line is one object with \"id\" and \"text\"");
  CHECK(parse_texts(R"({"id": "a", "text": "x", "meta": {"id": "z", "text": 5}})", "x.jsonl")[0].text == "x");
  CHECK(contains(error_of_line("{\"id\": \"b\", \"text\": \"x\"} {}"), "broken JSON"));
  CHECK(contains(error_of_line("5"), "x.jsonl:2:1: is a JSON number"));
  CHECK(contains(error_of_line("{\"id\": \"b\", \"text\": \"tab\there\"}"), "broken JSON"));
}

TEST_CASE("words and bytes are counted, or what a line states if that can be") {
  const auto texts =
      parse_texts("{\"text\": \" two w\u00f6rds\"}\n{\"text\": \"x\", \"words\": 7, \"bytes\": 99}", "x.jsonl");
  CHECK(texts[0].words == 3);
  CHECK(texts[0].bytes == 11);
  CHECK(texts[1].words == 7);
  CHECK(texts[1].bytes == 99);
  const auto bad = [](const std::string& value) {
    return error_of("{\"text\": \"x\", \"words\": " + value + "}", "x.jsonl");
  };
  for (const char* value :
       {"0", "-1", "2.0", "1e3", "\"3\"", "true", "null", "1000000000001", "18446744073709551615"}) {
    CAPTURE(value);
    CHECK(contains(bad(value), "x.jsonl:1: \"words\" is "));
    CHECK(contains(bad(value), ", not a number of them"));
  }
  CHECK(contains(bad("9" + std::string(400, '9')), "is beyond what double holds"));
  CHECK(contains(bad(std::string(100'000, '[') + std::string(100'000, ']')), "more than 64 deep"));
}

TEST_CASE("a line may name the group of its text") {
  const auto texts = parse_texts(R"({"id": "a@0", "group": "a", "text": "x"})"
                                 "\n"
                                 R"({"id": "b", "text": "x"})"
                                 "\n"
                                 R"({"text": "x"})",
                                 "f.jsonl");
  CHECK(texts.at(0).group == "a");
  CHECK(texts.at(1).group.empty());
  CHECK(error_of_line(R"({"text": "x", "group": 3})") == "x.jsonl:2: \"group\" is a JSON number, not a string");
  CHECK(error_of_line(R"({"text": "x", "group": ""})") ==
        "x.jsonl:2: \"group\" is empty; name what the text is a piece of, or leave it out");
  for (const char* unseen : {"a\\nb", "a\u200b", "\ufeffa", "a\u00ad", "a\\u0085", "a\u2028b"}) {
    CAPTURE(unseen);
    CHECK(contains(error_of_line(fmt::format(R"({{"text": "x", "group": "{}"}})", unseen)),
                   "\"group\" holds a control character or an invisible one"));
  }
  for (const char* spaced : {" a", "a ", "a\u00a0", "\u3000a"}) {
    CAPTURE(spaced);
    CHECK(contains(error_of_line(fmt::format(R"({{"text": "x", "group": "{}"}})", spaced)), "has a space at an end"));
  }
  CHECK(contains(error_of_line("{\"text\": \"x\", \"group\": \"e\u0301\"}"), "is not in Unicode's form NFC"));
  CHECK(parse_texts("{\"text\": \"x\", \"group\": \"\u00e9 b\"}", "x.jsonl").at(0).group == "\u00e9 b");
}

TEST_CASE("two documents of one id are an Error that names both lines") {
  CHECK(error_of("{\"id\": \"same\", \"text\": \"a\"}\n{\"text\": \"b\"}\n{\"id\": \"same\", \"text\": \"c\"}\n",
                 "x.jsonl") ==
        "x.jsonl:3: the id 'same' is that of line 1, too; rows are compared by documents, so give each its own");
  // A line without an id is x:2, whoever else calls himself so.
  CHECK(contains(error_of("{\"id\": \"x:2\", \"text\": \"a\"}\n{\"text\": \"b\"}\n", "x.jsonl"),
                 "x.jsonl:2: the id 'x:2'"));
}

}  // namespace
}  // namespace qroar
