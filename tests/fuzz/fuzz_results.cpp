// A results folder: the row.json of one cell, the plan.json and the clusters.csv, cut at the byte 0x01, beside another
// cell that is whole; everything that reads them, in every format of `show`.
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/csv.h"
#include "base/files.h"
#include "fuzz.h"
#include "report/show.h"
#include "report/sweep_state.h"
#include "results/results.h"

namespace qroar {
namespace {

const std::string kWholeRow =
    R"({"id": "bbbbbbbbbbbbbbbb", "experiment": "e", "axes": {"windows.length": 64, "rope": {"type": "none"}},
  "status": "ok", "error": null, "metrics": {"perplexity": {"value": 3.5, "stderr": 0.1, "count": 40, "clusters": 4, "link": "exp"}},
  "seconds": 1.5, "config": {"rope": {"type": "none"}, "windows": {"length": 64}, "model": {"path": "m", "dtype": "float32"}},
  "environment": {"started": "2026-11-28T04:53:35.115Z", "device": "cpu", "dtype": "float32", "rope": null}})";
const std::string kWholeClusters =
    "metric,group,scored,sum,weight\nperplexity,a,00,10,8\nperplexity,b,01,11,9\nperplexity,c,02,12,9\nperplexity,d,03,"
    "10,7\n";

std::string in_cell(const std::string& id, const char* file) { return "results/cells/" + id + "/" + file; }

void check_csv(const std::string& text) {
  std::istringstream lines(text);
  std::size_t columns = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t fields = csv_fields(line).size();
    must(columns == 0 || fields == columns, "a line of other columns: " + line);
    columns = fields;
  }
}

void check_shown(const Results& results, const std::vector<Json>& rows, ShowOptions options,
                 const std::string& format) {
  options.format = format;
  refuses([&] {
    const std::string text = show(results, rows, options);
    if (options.format == "csv") check_csv(text);
    if (options.format == "json" || options.format == "eee") must(Json::accept(text), "no JSON: " + text);
  });
}

}  // namespace

void fuzz_one(std::string_view input) {
  const auto parts = parts_of(input, 3);
  std::filesystem::remove_all(scratch().folder() / "results");
  for (const char* file : {"row.json", "clusters.csv"}) {
    const bool is_row = std::string_view(file) == "row.json";
    scratch().write(in_cell("aaaaaaaaaaaaaaaa", file), parts[is_row ? 0 : 2]);
    scratch().write(in_cell("bbbbbbbbbbbbbbbb", file), is_row ? kWholeRow : kWholeClusters);
  }
  if (!parts[1].empty()) scratch().write("results/plan.json", parts[1]);
  const Results results(scratch().folder() / "results");
  refuses([&] { must_be_one_line(left_out_note(sweep_state(results).rows.size())); });
  const std::vector<Json> rows = results.rows();
  must(rows.size() == 2, "two rows");
  results.derive_rows_file();
  const std::string lines = read_file(results.folder() / "rows.jsonl");
  must(std::ranges::count(lines, '\n') == 2, "two lines");
  ShowOptions options;
  options.draws = true;
  for (const std::string& format : kShowFormats) check_shown(results, rows, options, format);
  for (const char* baseline : {"bbbbbbbbbbbbbbbb", "rope=none"}) {
    options = {};
    options.baseline = baseline;
    for (const char* format : {"table", "json"}) check_shown(results, rows, options, format);
  }
  options = {};
  options.interaction = "rope,windows.length";
  for (const char* format : {"table", "json"}) check_shown(results, rows, options, format);
}

}  // namespace qroar
