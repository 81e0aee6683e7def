// Rows over rounding draws, their differences and interactions, from files written here.
#include "report/effects.h"

#include <cmath>
#include <numeric>

#include "report/over_draws.h"
#include "report/show.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

/// A folder of cells with the axes rope, quant and draw, whose clusters' sums are given.
class Folder {
 public:
  struct Cell {
    std::string id, rope, quant;
    int draw = 0;
    std::vector<double> sums;  ///< of nll, in documents of 10 tokens
    std::string extra{};       ///< more lines of clusters.csv
    std::string dtype = "float32";
    std::string kv = "none";
    std::string scored = "0123456789abcdef";  ///< hash of what was scored
    Json inputs = Json::object();
    Json rescale = Json::object();
    double off = 0;  ///< by which the row's mean is not that of the clusters
  };

  void add(const Cell& cell) const {
    const Json axes{{"rope", cell.rope}, {"quant", cell.quant}, {"rounding.draw", cell.draw}};
    Json row{{"id", cell.id}, {"experiment", "e"}, {"axes", axes}, {"status", "ok"}, {"error", nullptr}};
    const double nll =
        std::accumulate(cell.sums.begin(), cell.sums.end(), 0.0) / (10.0 * static_cast<double>(cell.sums.size()));
    row["metrics"]["nll"] = {{"value", nll + cell.off}, {"stderr", 1}, {"count", 40}, {"clusters", cell.sums.size()}};
    row["metrics"]["perplexity"] = {
        {"value", std::exp(nll)}, {"stderr", 1}, {"count", 40}, {"clusters", cell.sums.size()}, {"link", "exp"}};
    row["metrics"]["delta_p_5"] = {{"value", 2}, {"stderr", nullptr}, {"count", 40}};
    row["environment"] = {{"inputs", cell.inputs}, {"dtype", cell.dtype}};
    row["config"] = {{"data", {{"path", "d"}}},   {"model", {{"path", "m"}}},
                     {"rope", cell.rope},         {"quant", cell.quant == "none" ? Json::array() : Json(cell.quant)},
                     {"kv", {{"type", cell.kv}}}, {"rounding", {{"draw", cell.draw}}}};
    if (!cell.rescale.empty()) row["config"]["rescale"] = cell.rescale;
    std::string csv = "metric,group,scored,sum,weight\n";
    for (const char* metric : {"nll", "perplexity"}) {
      for (std::size_t d = 0; d < cell.sums.size(); ++d)
        csv += fmt::format("{},doc{},{},{},10\n", metric, d, cell.scored, cell.sums[d]);
    }
    scratch_.write(fmt::format("cells/{}/row.json", cell.id), row.dump());
    scratch_.write(fmt::format("cells/{}/clusters.csv", cell.id), csv + cell.extra);
  }
  Results results() const { return Results(scratch_.folder()); }

 private:
  Scratch scratch_;
};

std::string shown(const Folder& folder, const std::string& interaction, const std::string& format = "csv",
                  const std::string& baseline = "") {
  ShowOptions options;
  options.format = format;
  options.interaction = interaction;
  options.baseline = baseline;
  const Results results = folder.results();
  return show(results, results.rows(), options);
}

std::vector<Json> averaged(const Folder& folder) {
  const Results results = folder.results();
  const std::vector<Json> all = results.rows();
  Effects effects(results, all);
  return over_draws(all, effects);
}

/// Two schemes and two quantizers; W3 costs 1 nat a document under none, and 1.5, 1.5, 1.5, 2.5 under yarn.
void add_square(const Folder& folder) {
  folder.add({"a", "none", "none", 0, {10, 20, 30, 40}});
  folder.add({"b", "none", "W3", 0, {11, 21, 31, 41}});
  folder.add({"c", "yarn", "none", 0, {8, 18, 28, 38}});
  folder.add({"d", "yarn", "W3", 0, {9.5, 19.5, 29.5, 40.5}});
}

}  // namespace

TEST_CASE("rows that differ in their draw are one row, the mean over draws") {
  const Folder folder;
  folder.add({"a", "none", "W3", 0, {10, 20, 30, 40}});
  folder.add({"b", "none", "W3", 1, {12, 22, 32, 42}});
  folder.add({"b2", "none", "W3", 2, {11, 21, 31, 41}});
  folder.add({"c", "yarn", "W3", 0, {1, 2, 3, 4}});
  const std::vector<Json> rows = averaged(folder);
  REQUIRE(rows.size() == 2);
  const Json& both = rows[0]["draws"].size() == 3 ? rows[0] : rows[1];
  CHECK(draws_of(both) == std::vector<int64_t>{0, 1, 2});
  CHECK_FALSE(both["axes"].contains("rounding.draw"));
  CHECK(both["metrics"]["nll"]["value"] == Approx(2.6));
  CHECK(both["metrics"]["perplexity"]["value"] == Approx(std::exp(2.6)));
  CHECK(both["metrics"]["perplexity"]["low"] < both["metrics"]["perplexity"]["value"]);
  CHECK_FALSE(both["metrics"].contains("delta_p_5"));  // a percentile has no mean over draws
  CHECK(both["metrics"]["nll"]["draws"] == 3);
  CHECK(both["metrics"]["nll"]["stderr"].is_null());  // that of the first draw says nothing of the mean
}

TEST_CASE("draws are in their order whatever cells are called, and one that was run twice counts once") {
  const Folder folder;
  folder.add({"a", "none", "W3", 2, {11, 21, 31, 41}});
  folder.add({"b", "none", "W3", 1, {12, 22, 32, 42}});
  folder.add({"c", "none", "W3", 0, {10, 20, 30, 40}});
  folder.add({"d", "none", "W3", 0, {10, 20, 30, 40}});
  const std::vector<Json> rows = averaged(folder);
  REQUIRE(rows.size() == 1);
  CHECK(draws_of(rows[0]) == std::vector<int64_t>{0, 1, 2});
  CHECK(rows[0]["draws"][0]["id"] == "c");
  CHECK(rows[0]["metrics"]["nll"]["value"] == Approx(2.6));
}

TEST_CASE(
    "a full-precision row is the partner of every rounding draw on either side of a difference, in one draw alone") {
  const auto paired = [](int draws_of_full, const char* baseline, std::size_t row) {
    const Folder folder;
    for (int draw = 0; draw < draws_of_full; ++draw)
      folder.add({fmt::format("a{}", draw), "none", "none", draw, {10, 20, 30, 40}});
    for (const int draw : {0, 1, 2})
      folder.add({fmt::format("b{}", draw), "none", "W3", draw, {11. + draw, 21. + draw, 31. + 2 * draw, 41. + draw}});
    return Json::parse(shown(folder, "", "json", baseline)).at(row).at("paired");
  };
  for (const auto& [baseline, row, sign] : {std::tuple("quant=none", 1, 1), {"quant=W3", 0, -1}}) {
    CAPTURE(baseline);
    const Json one = paired(1, baseline, static_cast<std::size_t>(row));
    CHECK(one["nll"]["draws"] == 3);
    CHECK(one["nll"]["difference"].get<double>() == Approx(sign * (1 + 1 + 0.25) / 10));
    const Json two = paired(2, baseline, static_cast<std::size_t>(row));
    CHECK_FALSE(two.contains("nll"));
    CHECK(two["reason"] == "other draws");
  }
}

TEST_CASE("draws that scored other tokens, or not all of them, have no mean") {
  const auto refusal = [](const Folder::Cell& second) {
    const Folder folder;
    folder.add({.id = "a",
                .rope = "none",
                .quant = "W3",
                .draw = 0,
                .sums = {10, 20, 30, 40},
                .extra = "other,doc0,x,5,10\n"});
    folder.add(second);
    return error_text([&] { averaged(folder); });
  };
  const Folder::Cell same{
      .id = "b", .rope = "none", .quant = "W3", .draw = 1, .sums = {11, 21, 31, 41}, .extra = "other,doc0,x,5,10\n"};
  Folder::Cell other = same, weight = same, fewer = same;
  other.extra = "other,doc0,y,5,10\n";
  weight.extra = "other,doc0,x,5,11\n";
  fewer.extra = "";
  for (const Folder::Cell& cell : {other, weight, fewer})
    CHECK(contains(refusal(cell), "its rounding draws: draws that scored other tokens; delete their cells"));
}

TEST_CASE("a task's interval is computed anew from its questions, and rows over others say so") {
  const auto questions = [](const char* scored) {
    std::string lines;
    for (int i = 0; i < 6; ++i) lines += fmt::format("t/acc,q{},{},{},1\n", i, scored, i % 3 == 0 ? 0 : 1);
    return lines;
  };
  const Folder folder;
  folder.add({.id = "a", .rope = "none", .quant = "none", .sums = {10, 20, 30, 40}, .extra = questions("x")});
  folder.add({.id = "b", .rope = "none", .quant = "W3", .sums = {11, 21, 31, 41}, .extra = questions("y")});
  const Results results = folder.results();
  std::vector<Json> all = results.rows();
  for (Json& row : all)
    row["metrics"]["t/acc"] = {{"value", 4. / 6}, {"clusters", 6}, {"low", -3}, {"high", 3}};  // of an older version
  Effects effects(results, all);
  for (const Json& row : over_draws(all, effects)) {
    CHECK(row["metrics"]["t/acc"]["low"] > 0.1);
    CHECK(row["metrics"]["t/acc"]["high"] <= 1);
  }
  CHECK(effects.of({{1, &all[1]}, {-1, &all[0]}}, "t/acc").reason == "other questions");
}

TEST_CASE("clusters that are not the row's are compared with nothing") {
  for (const double off : {0.0, 1e-12, 1e-6}) {
    const Folder folder;
    folder.add({"a", "none", "none", 0, {10, 20, 30, 40}});
    folder.add({"b", "none", "W3", 0, {11, 22, 31, 41}});
    folder.add({.id = "c", .rope = "yarn", .quant = "none", .sums = {12, 21, 30, 40}, .off = off});
    const Json rows = Json::parse(shown(folder, "", "json", "a"));
    CHECK(rows[1]["paired"].contains("nll"));
    CHECK(rows[2]["paired"].contains("nll") == (off < 1e-9));
    if (off > 1e-9) CHECK(contains(rows[2]["paired"]["reason"].get<std::string>(), "clusters.csv is not the row's"));
  }
}

TEST_CASE("a damaged clusters.csv is its row's alone") {
  const Folder folder;
  folder.add({"a", "none", "none", 0, {10, 20, 30, 40}});
  folder.add({"b", "none", "W3", 0, {11, 22, 31, 41}});
  folder.add({"c", "yarn", "none", 0, {12, 21, 30, 40}, "nll,doc4,x,nan,10\n"});
  const Json rows = Json::parse(shown(folder, "", "json", "a"));
  CHECK(rows[1]["paired"].contains("nll"));
  CHECK(contains(rows[2]["paired"]["reason"].get<std::string>(), "clusters.csv is damaged"));
}

TEST_CASE("rows that are equal to the bit are no comparison") {
  const Folder folder;
  folder.add({"a", "none", "none", 0, {10, 20, 30, 40}});
  folder.add({"b", "none", "W3", 0, {11, 22, 31, 41}});
  folder.add({"c", "yarn", "none", 0, {10, 20, 30, 40}});
  const Json rows = Json::parse(shown(folder, "", "json", "a"));
  CHECK(rows[2]["paired"]["nll"]["difference"] == 0);
  CHECK(rows[2]["paired"]["nll"]["p_value"].is_null());
  CHECK(rows[2]["paired"]["nll"]["detectable"].is_null());
  const std::string table = shown(folder, "", "table", "a");
  CHECK(contains(table, " equal"));
  CHECK(contains(table, "of 1 comparisons survive"));
}

TEST_CASE("an interaction is the difference of differences, cluster by cluster") {
  const Folder folder;
  add_square(folder);
  const Json found = Json::parse(shown(folder, "rope=none,quant=none", "json"));
  REQUIRE(found.size() == 1);
  // 0.5, 0.5, 0.5, 1.5 nats in documents of 10 tokens: mean 0.75 / 10, standard deviation 0.5; the jackknife's error.
  const double error = 0.05 / std::sqrt(3);
  CHECK(found[0]["value"] == Approx(0.075));
  CHECK(found[0]["stderr"] == Approx(error));
  CHECK(found[0]["low"] == Approx(0.075 - 3.182446305 * error));
  CHECK(found[0]["clusters"] == 4);
  CHECK(found[0]["draws"] == 1);
  CHECK(found[0]["labels"]["quant"] == "W3");
  CHECK(found[0]["between"]["rope"] == "none");
  // The other way round, each against its other level: the same number.
  CHECK(Json::parse(shown(folder, "quant=W3,rope=yarn", "json"))[0]["value"] == Approx(0.075));
}

TEST_CASE("a difference from a baseline is made of the same clusters in the same draws") {
  const Folder folder;
  add_square(folder);
  const std::string csv = shown(folder, "", "csv", "quant=none");
  CHECK(contains(csv, "baseline"));
  int compared = 0;
  for (const Json& row : Json::parse(shown(folder, "", "json", "quant=none"))) {
    if (!row["paired"].contains("nll")) continue;
    const Json &nll = row["paired"]["nll"], &ratio = row["paired"]["perplexity_ratio"];
    CHECK(ratio["value"] == Approx(std::exp(nll["difference"].get<double>())));
    for (const char* end : {"low", "high"}) CHECK(ratio[end] == Approx(std::exp(nll[end].get<double>())));
    ++compared;
  }
  CHECK(compared == 2);
  folder.add({"e", "yarn", "W4", 1, {9, 19, 29, 39}});
  CHECK(contains(shown(folder, "", "table", "quant=W3"), "other draws"));
  folder.add({"f", "ntk", "none", 0, {9, 19, 29}});
  folder.add({"g", "ntk", "W3", 0, {9, 19, 29, 39}});
  CHECK(contains(shown(folder, "", "table", "quant=none"), "other windows"));
  const Folder of_another_length;  // of as many tokens
  of_another_length.add({"h", "yarn", "none", 0, {9, 19, 29, 39}});
  of_another_length.add({"i", "yarn", "W3", 0, {9, 19, 29, 40}, "", "float32", "none", "fedcba9876543210"});
  CHECK(contains(shown(of_another_length, "", "table", "quant=none"), "other windows"));
}

TEST_CASE("rows that computed the same to the bit are no comparison, and do not count") {
  const Folder folder;
  add_square(folder);
  CHECK(contains(shown(folder, "", "markdown", "quant=none"), "of 2 comparisons survive"));
  folder.add({"e", "linear", "none", 0, {10, 20, 30, 40}});
  folder.add({"f", "linear", "W3", 0, {10, 20, 30, 40}});
  CHECK(contains(shown(folder, "", "markdown", "quant=none"), "of 2 comparisons survive"));
  CHECK(contains(shown(folder, "", "csv", "quant=none"), "e,,0.0,"));  // which is shown all the same
}

TEST_CASE("a row of full precision in one draw stands for all draws of the others") {
  const Folder folder;
  add_square(folder);
  folder.add({"b1", "none", "W3", 1, {13, 23, 33, 43}});
  folder.add({"d1", "yarn", "W3", 1, {13.5, 23.5, 33.5, 43.5}});
  const Json found = Json::parse(shown(folder, "rope=none,quant=none", "json"));
  REQUIRE(found.size() == 1);
  // 0.75 nats a document in draw 0; 13.5 - 8 - 13 + 10 = 2.5 in draw 1.
  CHECK(found[0]["value"] == Approx((0.075 + 0.25) / 2));
  CHECK(found[0]["draws"] == 2);
  folder.add({"e", "ntk", "W3", 0, {9, 19, 29, 39}});
  folder.add({"f", "ntk", "none", 0, {9, 19, 29, 39}});
  CHECK(contains(shown(folder, "rope=none,quant=none", "csv"),
                 "other draws"));  // W3 under ntk has one draw, under none two
}

TEST_CASE(
    "in bfloat16, where a draw's weights are rounded anew, a row of full precision stands for its own draw alone") {
  const Folder folder;
  folder.add({"a", "none", "none", 0, {1, 2, 3, 4}, "", "bfloat16"});
  folder.add({"b", "none", "W3", 1, {1, 2, 3, 4}, "", "bfloat16"});
  folder.add({"c", "yarn", "none", 0, {1, 2, 3, 4}, "", "bfloat16"});
  folder.add({"d", "yarn", "W3", 1, {1, 2, 3, 4}, "", "bfloat16"});
  CHECK(contains(error_text([&] { shown(folder, "rope=none,quant=none"); }), "other draws"));
}

TEST_CASE("a row whose cache alone is rounded stands for its own draw alone") {
  const Folder folder;
  folder.add({"a", "none", "none", 0, {1, 2, 3, 4}, "", "float32", "fake_quant"});
  folder.add({"b", "none", "W3", 1, {1, 2, 3, 4}, "", "float32", "fake_quant"});
  folder.add({"c", "yarn", "none", 0, {1, 2, 3, 4}, "", "float32", "fake_quant"});
  folder.add({"d", "yarn", "W3", 1, {1, 2, 3, 4}, "", "float32", "fake_quant"});
  CHECK(contains(error_text([&] { shown(folder, "rope=none,quant=none"); }), "other draws"));
}

TEST_CASE("loss by position has lines of its own") {
  const Folder folder;
  const auto add = [&](const char* id, const char* rope, const char* quant, double sum) {
    std::string more;
    for (int d = 0; d < 4; ++d) more += fmt::format("nll_by_position/0-5,doc{},01,{},5\n", d, sum);
    folder.add({id, rope, quant, 0, {1, 1, 1, 1}, more});
  };
  add("a", "none", "none", 1);
  add("b", "none", "W3", 2);
  add("c", "yarn", "none", 1);
  add("d", "yarn", "W3", 7);
  const Json found = Json::parse(shown(folder, "rope=none,quant=none", "json"));
  REQUIRE(found.size() == 2);
  CHECK(found[1]["positions"] == Json{0, 5});
  CHECK(found[1]["value"] == Approx(1));
  CHECK(contains(shown(folder, "rope=none,quant=none", "table"), "by position"));
}

TEST_CASE("what cannot be an interaction is one line that says why") {
  const Folder folder;
  add_square(folder);
  const auto error = [&](const std::string& axes) { return error_text([&] { shown(folder, axes); }); };
  CHECK(contains(error("rope"), "write two axes, such as rope,quant"));
  CHECK(contains(error("rop,quant"), "no axis 'rop'; did you mean 'rope'?"));
  CHECK(contains(error("rope=ntk,quant"), "no row has that value; its values are"));
  CHECK(contains(error("rope,rope"), "one axis twice"));
  const Folder one;
  one.add({"a", "none", "none", 0, {1, 1, 1, 1}});
  one.add({"b", "none", "W3", 0, {1, 1, 1, 1}});
  CHECK(contains(error_text([&] { shown(one, "rope,quant"); }), "has one level (none)"));
  const Folder draws;
  draws.add({"a", "none", "none", 0, {1, 1, 1, 1}});
  draws.add({"b", "none", "W3", 1, {1, 1, 1, 1}});
  draws.add({"c", "yarn", "none", 0, {1, 1, 1, 1}});
  draws.add({"d", "yarn", "W3", 2, {1, 1, 1, 1}});
  CHECK(contains(error_text([&] { shown(draws, "rope=none,quant=none"); }), "other draws"));
}

TEST_CASE("two draws have no interval, and the caption says so") {
  const Folder folder;
  add_square(folder);
  folder.add({"b1", "none", "W3", 1, {13, 23, 33, 43}});
  folder.add({"d1", "yarn", "W3", 1, {13.5, 23.5, 33.5, 43.5}});
  CHECK(contains(shown(folder, "", "table"), "no intervals over 2 rounding draws: 3 are the fewest"));
  CHECK(Json::parse(shown(folder, "rope=none,quant=none", "json"))[0]["low"].is_null());
}

TEST_CASE("scales that were found for a quantized model are those of its draw") {
  const bool in_each = GENERATE(true, false);  // or once, in draw 0, for all
  const Folder folder;
  for (const auto& [id, quant, draw] : {std::tuple{"a", "none", 0}, {"b", "W3", 0}, {"c", "W3", 1}}) {
    Json quantization{{"quant", "W3"}};
    if (in_each) quantization["rounding"] = {{"draw", draw}};
    const Json found{{"search", {{"quantization", quantization}}}};
    folder.add({id, "none", quant, draw, {1, 2, 3, 4}, "", "float32", "none", "01", {}, found});
  }
  CHECK(contains(shown(folder, "", "table", "quant=none"), "other draws") == in_each);
}

TEST_CASE("rows that read another version of a file are not compared, and the caption says so") {
  const std::string input = GENERATE("model", "data", "tasks", "calibration", "dev", "scales");
  const Json one{{input, "1"}, {"rope", "1"}}, other{{input, "2"}, {"rope", "2"}};
  const Folder folder;
  folder.add({"a", "none", "none", 0, {1, 2, 3, 4}, "", "float32", "none", "01", one});
  folder.add({"b", "none", "W3", 0, {1, 2, 3, 5}, "", "float32", "none", "01", other});
  folder.add({"c", "none", "W3", 1, {1, 2, 3, 6}, "", "float32", "none", "01", one});
  const std::string text = shown(folder, "", "table", "quant=none");
  CHECK(contains(text, "warning: some rows read another version of the " + input + " than others do"));
  CHECK(contains(text, "the " + input + " changed between them; run both again"));
  CHECK(Json::parse(shown(folder, "", "json")).size() == 3);  // b and c are no draws of one row
}

TEST_CASE("cells that the plan no longer has are no draws of those that it has") {
  const Folder folder;
  folder.add({"a", "none", "W3", 0, {10, 20, 30, 40}});
  folder.add({"b", "none", "W3", 1, {12, 22, 32, 42}});
  ShowOptions options;
  options.format = "json";
  options.all = true;
  options.planned = {{"a"}};
  const Results results = folder.results();
  CHECK(Json::parse(show(results, results.rows(), options)).size() == 2);
}

TEST_CASE("three documents have no interval, and the caption says so") {
  const Folder folder;
  folder.add({"a", "none", "none", 0, {10, 20, 30}});
  const std::string text = shown(folder, "", "table");
  CHECK(contains(text, "no intervals: 3 documents are fewer than 4"));
  CHECK_FALSE(contains(text, "["));
}

}  // namespace qroar
