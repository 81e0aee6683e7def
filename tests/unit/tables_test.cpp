// What `show` prints: labels and renderings.
#include <cmath>

#include "base/error.h"
#include "report/beside_axes.h"
#include "report/show.h"
#include "report/table.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/mutations.h"
#include "support/scratch.h"

namespace qroar {

TEST_CASE("axis labels are short and say what varies") {
  const auto label = [](const char* text) { return axis_label(Json::parse(text)); };
  CHECK(label("4096") == "4096");
  CHECK(label("8.0") == "8");
  CHECK(label("0.25") == "0.25");
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
  CHECK(label(R"({"type": "yarn", "factor": 8, "name": "YaRN"})") == "YaRN");
  CHECK(
      label(
          R"([{"match": "*", "weight": {"type": "rtn", "bits": 4}, "name": "W4"}, {"match": "a", "weight": {"type": "nf4"}}])") ==
      "W4");
  CHECK(
      label(
          R"([{"match": "*", "weight": {"type": "rtn", "bits": 4, "name": "our grid"}, "input": {"type": "fp8"}}])") ==
      "our grid, fp8");
  CHECK(label(R"([{"type": "passkey"}, {"type": "passkey", "name": "beyond"}])") == "passkey + beyond");
  CHECK(label(R"("{query}\nAnswer:")") == R"("{query}\nAnswer:")");  // stays on its line
}

TEST_CASE("a number has two digits of the half of its interval") {
  CHECK(with_interval(12.3456, 12.29, 12.41) == "12.346 [12.290, 12.410]");  // 0.060
  CHECK(with_interval(62.5, 28, 138) == "62.50 [28.00, 138.00]");            // two decimals at least
  CHECK(with_interval(62.5678, 62.5678, 62.5678) == "62.568");
  CHECK(with_interval(2e8, 1e8, 3e8) == "200000000.00 [100000000.00, 300000000.00]");
  CHECK(with_interval(2e9, 1e9, 3e9) == "2e+09 [1e+09, 3e+09]");
  // A difference has four decimals at least.
  const Estimate effect = estimate({{1, {1}}, {1, {2}}, {1, {1.4}}, {1, {1.6}}});
  CHECK(effect_text(effect, true) == "+1.5000 [+0.7350, +2.2650]*");
}

TEST_CASE("tables render as aligned text, CSV and Markdown") {
  const Table table{{"rope", "512"}, {{"none", "8.1 ± 0.2"}, {"a,b", "10"}}, 1};
  CHECK(table.render("table") == "rope        512\n----  ---------\nnone  8.1 ± 0.2\na,b          10\n");
  CHECK(table.render("csv") == "rope,512\nnone,8.1 ± 0.2\n\"a,b\",10\n");
  CHECK(table.render("markdown") ==
        "| rope |       512 |\n|:-----|----------:|\n| none | 8.1 ± 0.2 |\n| a,b  |        10 |\n");
}

namespace {

Json whole_row() {
  return Json::parse(R"({
    "id": "a", "experiment": "e", "axes": {"rope": {"type": "yarn", "factor": 2}}, "status": "ok", "error": null,
    "metrics": {"perplexity": {"value": 2, "stderr": 1, "count": 3, "clusters": 4, "low": 1, "high": 3, "link": "exp"},
                "nll": {"value": 0.7, "stderr": 1, "count": 3, "clusters": 4, "low": 0, "high": 1.1}},
    "seconds": 1, "tokens_per_second": 2, "model_tflops_per_second": 3, "peak_bytes": 4, "warnings": ["w"],
    "controls": {"unscaled": "b"}, "search": {"g": [1.0, 2.0], "dev_gain": 0.1},
    "environment": {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:01Z", "device": "cpu",
                    "dtype": "float32", "rope": {"type": "none"}, "inputs": {}},
    "config": {"model": {"path": "m", "dtype": "auto", "device": "auto"}, "data": {"path": "d", "documents": 0},
               "windows": {"length": 64, "stride": 64, "truncate": false, "bos": true, "aggregate": "tokens", "protocol": ""},
               "rope": {"type": "model"}, "quant": [{"match": "*", "weight": {"type": "rtn", "bits": 4}}], "kv": {"type": "none"},
               "rescale": {"type": "bands", "variant": "shared", "bands": 2, "search": {"grid": {"points": 3}}}}})");
}

}  // namespace

TEST_CASE("a row with anything at any place is shown in every format, perhaps as damaged") {
  const Scratch scratch;
  const Json whole = whole_row();
  Json other = whole;
  other["id"] = "b";
  other["config"]["seed"] = 1;
  scratch.write("cells/b/row.json", other.dump());
  for (const char* cell : {"a", "b"})
    scratch.write(fmt::format("cells/{}/windows.csv", cell),
                  "document,start,tokens,nll_sum,nll_square_sum\nd,0,3,1.5,0.25\n");
  const Results results(scratch.folder());
  int shown = 0, named = 0;
  for (const auto& [what, row] : mutations_of(whole)) {
    scratch.write("cells/a/row.json", row.dump());
    for (const char* format : {"table", "csv", "json", "latex"}) {
      INFO(what << " as " << format);
      ShowOptions options;
      options.format = format;
      const std::vector<Json> rows = results.rows();
      CHECK_FALSE(show(results, rows, options).empty());
      const auto damaged = std::ranges::find(rows, Json("damaged"), [](const Json& one) { return one["status"]; });
      ++(damaged == rows.end() ? shown : named);
      if (damaged != rows.end()) CHECK(contains((*damaged)["error"], "cells/a/row.json:"));
    }
  }
  CHECK(shown > 1000);
  CHECK(named > 500);
  scratch.write("cells/a/row.json", other.dump());  // of another cell
  const std::optional<Json> copied = results.row("a");
  REQUIRE(copied);
  CHECK(contains((*copied)["error"], "'/id' is \"b\", not the name of its folder"));
}

TEST_CASE("a row's file is damaged where it has what tables add, another status, or no blocks") {
  const Scratch scratch;
  const Results results(scratch.folder());
  const auto error_with = [&](const char* place, const Json& value) {
    Json row = whole_row();
    row[Json::json_pointer(place)] = value;
    scratch.write("cells/a/row.json", row.dump());
    const Json found = *results.row("a");
    return found["status"] == "damaged" ? found["error"].get<std::string>() : "";
  };
  for (const Json& draws : {Json(3), Json::array(), Json::array({Json{{"id", "../../other"}, {"draw", 0}}})})
    CHECK(contains(error_with("/draws", draws), "'/draws' is of type"));
  CHECK(contains(error_with("/status", "okay"), "'/status' is \"okay\", neither ok nor failed"));
  CHECK(contains(error_with("/config/data", Json::array()), "'/config/data' is of type array"));
  CHECK(error_with("/config/seed", 2).empty());
}

TEST_CASE("a damaged row leaves the table of the others as it is") {
  const Scratch scratch;
  scratch.write("cells/a/row.json", whole_row().dump());
  const Results results(scratch.folder());
  const std::string alone = show(results, results.rows(), {});
  std::filesystem::create_directories(scratch.folder() / "cells/b");
  std::filesystem::create_symlink("row.json", scratch.folder() / "cells/b/row.json");  // to itself
  scratch.write("cells/c/row.json", "{");
  std::filesystem::create_symlink("d", scratch.folder() / "cells/d");
  const std::string with_others = show(results, results.rows(), {});
  CHECK(contains(with_others, alone.substr(alone.find("perplexity"), 10)));
  for (const char* swept : {"swept", "config", "data  "}) CHECK_FALSE(contains(with_others, swept));
  for (const char* failed : {"failed b: ", "failed c: ", "failed d: "}) CHECK(contains(with_others, failed));
}

TEST_CASE("a column is the smallest part of the configuration that rows differ in and no axis says") {
  const auto columns = [](const char* first, const char* second, const char* axes = "{}") {
    std::vector<Json> rows;
    for (const char* config : {first, second})
      rows.push_back({{"axes", Json::parse(axes)}, {"config", Json::parse(config)}, {"environment", Json::object()}});
    std::string found;
    const Json first_row = beside_axes(rows, false)[0];
    for (const auto& [path, value] : first_row.items()) found += path + "=" + value.dump() + " ";
    return found;
  };
  CHECK(columns(R"({"seed": 1})", R"({"seed": 1})").empty());
  CHECK(columns(R"({"windows": {"length": 32, "stride": 32}})", R"({"windows": {"length": 64, "stride": 64}})") ==
        "windows.length=32 ");
  CHECK(columns(R"({"windows": {"length": 32, "stride": 16}})", R"({"windows": {"length": 64, "stride": 64}})") ==
        "windows.length=32 windows.stride=16 ");
  CHECK(columns(R"({"windows": {"length": 32, "bos": true}})", R"({"windows": {"length": 64, "bos": false}})",
                R"({"windows.length": 1})") == "windows.bos=true ");
  CHECK(columns(R"({"windows": {"length": 32}})", R"({"windows": {"length": 64}})", R"({"windows": {}})").empty());
  CHECK(columns(R"({"rope": {"type": "ntk", "factor": 2}})", R"({"rope": {"type": "linear", "factor": 4}})") ==
        R"(rope={"type":"ntk","factor":2} )");
  CHECK(columns(R"({"quant": [{"weight": {"bits": 3}}]})", R"({"quant": [{"weight": {"bits": 4}}]})") ==
        "quant[0].weight.bits=3 ");
  CHECK(columns(R"({"quant": [{"weight": {"bits": 3}}]})", R"({"quant": [{"weight": {"bits": 4}}]})",
                R"({"quant[0].weight": {}})")
            .empty());
  CHECK(columns(R"({"scales": [1, 2]})", R"({"scales": [1, 3]})") == "scales=[1,2] ");
}

}  // namespace qroar
