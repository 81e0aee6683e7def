// What `show` prints: labels, renderings and the paired comparison.
#include <cmath>

#include "harness/show.h"
#include "harness/table.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {

TEST_CASE("axis labels are short and say what varies") {
  const auto label = [](const char* text) { return axis_label(Json::parse(text)); };
  CHECK(label("4096") == "4096");
  CHECK(label("[]") == "none");
  CHECK(label(R"({"type": "yarn", "factor": "auto"})") == "yarn");
  CHECK(label(R"({"type": "ntk", "factor": 2})") == "ntk ×2");
  CHECK(label(R"([{"match": "*", "weight": {"type": "rtn", "bits": 3, "group": 64}}])") == "rtn W3 g64");
  CHECK(label(R"([{"match": "*", "weight": {"type": "rtn", "bits": 4, "group": 0, "zero": "awq"}}])") ==
        "rtn W4 per row zero=awq");
  CHECK(
      label(
          R"([{"type": "multiple_choice", "path": "data/piqa.jsonl", "prompt": "{query}\nAnswer:", "limit": 9, "pad": {"path": "a.txt", "tokens": 64}}])") ==
      "piqa limit=9 padded to 64");
  CHECK(label(R"("{query}\nAnswer:")") == R"("{query}\nAnswer:")");  // stays on its line
}

TEST_CASE("tables render as aligned text, CSV, Markdown and LaTeX") {
  const Table table{{"rope", "512"}, {{"none", "8.1 ± 0.2"}, {"a,b", "10"}}, 1};
  CHECK(table.render("table") == "rope        512\n----  ---------\nnone  8.1 ± 0.2\na,b          10\n");
  CHECK(table.render("csv") == "rope,512\nnone,8.1 ± 0.2\n\"a,b\",10\n");
  CHECK(table.render("markdown") ==
        "| rope |       512 |\n|:-----|----------:|\n| none | 8.1 ± 0.2 |\n| a,b  |        10 |\n");
  CHECK(contains(table.render("latex"),
                 "\\begin{tabular}{lr}\n\\toprule\nrope & 512 \\\\\n\\midrule\nnone & 8.1 $\\pm$ 0.2 \\\\\n"));
}

TEST_CASE("a paired difference cancels what two rows share, with the ratio estimator's error by hand") {
  // Two windows of 10 and 30 tokens; b is a plus 1 nat in the first and 9 nats in the second.
  const std::vector<WindowRecord> a{{"d", 0, {10, 50, 0}}, {"e", 0, {30, 90, 0}}},
      b{{"d", 0, {10, 51, 0}}, {"e", 0, {30, 99, 0}}};
  const PairedDifference paired = paired_difference(b, a);
  CHECK(paired.difference == Approx(10.0 / 40));
  // Residuals 1 - 10 * 0.25 = -1.5 and 9 - 30 * 0.25 = 1.5; sqrt((2.25 + 2.25) * 2 / 1) / 40.
  CHECK(paired.standard_error == Approx(3.0 / 40));
  CHECK(paired.windows == 2);
  CHECK(paired_difference(a, a).difference == 0);
  CHECK(std::isnan(paired_difference({a[0]}, {b[0]}).standard_error));
  CHECK(paired_difference(a, {a[0]}).windows == 0);
  CHECK(paired_difference(a, {a[1], a[0]}).windows == 0);
}

TEST_CASE("windows.csv is read back, and a broken line is an error with its place") {
  const Scratch scratch;
  const auto file =
      scratch.write("w.csv", "document,start,tokens,nll_sum,nll_square_sum\n\"a, \"\"b\"\"\",512,3,1.5,0.25\n");
  const auto records = read_windows(file);
  REQUIRE(records.size() == 1);
  CHECK(records[0].document == "a, \"b\"");
  CHECK(records[0].start == 512);
  CHECK(records[0].nll.count == 3);
  CHECK(records[0].nll.sum == 1.5);
  const auto broken = scratch.write("x.csv", "document,start,tokens,nll_sum,nll_square_sum\na,0,x,1,1\n");
  CHECK(contains(error_text([&] { read_windows(broken); }), "x.csv:2: expected a number, found 'x'"));
}

}  // namespace qroar
