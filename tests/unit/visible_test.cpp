// Words of others in our messages, logs and tables: they act on nothing.
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

#include "base/csv.h"
#include "base/log.h"
#include "base/utf8.h"
#include "report/latex.h"
#include "report/table.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qroar;

TEST_CASE("visible() escapes what acts without being seen, and nothing else") {
  CHECK(visible("plain words, é € 😀 中") == "plain words, é € 😀 中");
  CHECK(visible("a\x1b[31mb") == R"(a\x1b[31mb)");
  CHECK(visible("a\nb\rc\td") == R"(a\nb\rc\td)");
  CHECK(visible(std::string_view("\0\x7f", 2)) == R"(\x00\x7f)");
  CHECK(visible("\xC2\x9B") == R"(\x9b)");  // an 8-bit control sequence introducer
  CHECK(visible("\xC2\xA0") == "\xC2\xA0");
  CHECK(visible("\xE2\x80\xAE") == R"(\u202e)");  // turns the direction of what follows
  CHECK(visible("\xF3\xA0\x81\x81") == R"(\U000e0041)");
  CHECK(visible("\xC3(") == R"(\xc3()");  // a lead byte without its continuation
  CHECK(visible("\xED\xA0\x80") == R"(\xed\xa0\x80)");
}

TEST_CASE("what is not UTF-8 is replaced as Python's decode(errors=\"replace\") does") {
  const std::string mark = "\ufffd";
  CHECK(with_replacements("a\u00e9\u6c49") == "a\u00e9\u6c49");
  CHECK(with_replacements("a\xe6\xb1") == "a" + mark);
  CHECK(with_replacements("\xe6\xb1x\xf0\x9f\x98") == mark + "x" + mark);
  CHECK(with_replacements("\xff\xfe") == mark + mark);
  CHECK(with_replacements("\xed\xa0\x80") == mark + mark + mark);  // half of a pair
  CHECK(with_replacements("\xe0\x80\xc3\xa9\xf4\x90") == mark + mark + "\u00e9" + mark + mark);
  CHECK(with_replacements("").empty());
}

TEST_CASE("an Error is one visible line, several errors one line each") {
  CHECK(error_text([] { fail("{}: is not there", "a\n\x1b]0;title\x07"); }) == R"(a\n\x1b]0;title\x07: is not there)");
  CHECK(std::string(Error(std::vector<std::string>{"a\nb", "c"}).what()) == "a\\nb\nc");
}

TEST_CASE("a message of the log is one visible line") {
  std::ostringstream text;
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text);
  sink->set_formatter(log_format("%l %*"));
  spdlog::logger("test", sink).warn("{} {}", "a\nb", "\x1b[2J");
  CHECK(text.str() == "warning a\\nb \\x1b[2J\n");
}

TEST_CASE("no text is a formula in a spreadsheet, and reading returns it as it was") {
  CHECK(csv_field("=1+2") == R"("'=1+2")");
  CHECK(csv_field("@SUM(A1)") == "\"'@SUM(A1)\"");
  CHECK(csv_field("\t=1+2") == "\"'\t=1+2\"");
  CHECK(csv_field("-2+3") == R"("'-2+3")");
  CHECK(csv_field("'quoted'") == R"("''quoted'")");
  for (const char* number : {"-1.5", "+0.25", "-inf", "nan", "1e-9", "-0.01 [-0.02, 0.00]"})
    CHECK(csv_fields(csv_field(number)) == std::vector<std::string>{number});
  CHECK(csv_field(" =1+2") == R"("' =1+2")");
  CHECK(csv_field("\n=1+2") == R"("' =1+2")");
  for (const char* blank : {"\r", "a\nb", " "})
    CHECK(csv_fields(csv_field(blank)) == csv_fields(csv_field(csv_fields(csv_field(blank))[0])));
  CHECK(csv_field("\r") == " ");
  CHECK(csv_field("-1.5") == "-1.5");
  CHECK(csv_field("+0.25") == "+0.25");
  std::string line;
  const std::vector<std::string> words{"=1+2", "'a", "''", "'", "+", "\t=x", "@a,b", "\"=\"", "", "a'b", "-"};
  for (const std::string& word : words) line += (line.empty() ? "" : ",") + csv_field(word);
  CHECK(csv_fields(line) == words);
}

TEST_CASE("Markdown and LaTeX take words for words") {
  const Table table{{"a|b", "x_y"}, {{"<img src=x>", "[l](http://e)"}, {"`c` \\ $x$ *b* _i_", "a & b"}}, 2};
  const std::string markdown = table.render("markdown");
  for (const char* part :
       {"a\\|b", "x_y", "\\<img src=x\\>", "[l]\\(http://e)", "\\`c\\` \\\\ \\$x\\$ \\*b\\* \\_i\\_", "a &amp; b"})
    CHECK(contains(markdown, part));
  CHECK(table.render("table").starts_with("a|b"));
  CHECK(latex_escaped("\\~^|<>\"&%$#_{}") ==
        "\\textbackslash{}\\textasciitilde{}\\textasciicircum{}\\textbar{}\\textless{}\\textgreater{}\\symbol{34}\\&\\%"
        "\\$\\#\\_"
        "\\{\\}");
}
