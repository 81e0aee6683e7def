#include "harness/results.h"

#include <algorithm>
#include <charconv>

#include "base/csv.h"
#include "base/error.h"
#include "base/files.h"

namespace qroar {
namespace {

template <class T>
T number(const std::string& text, const std::filesystem::path& file, std::size_t line) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail("{}:{}: expected a number, found '{}'; delete the cell and run again", file.string(), line, text);
  }
  return value;
}

std::optional<Json> read_json(const std::filesystem::path& file, const char* remedy) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    return Json::parse(read_file(file));
  } catch (const Json::exception& error) {
    fail("{}: {}; {}", file.string(), error.what(), remedy);
  }
}

/// Other processes may be writing into the same cell: their temporary files stay.
void write_tables(const std::filesystem::path& folder, const std::map<std::string, CsvTable>& tables) {
  if (!tables.empty()) std::filesystem::create_directories(folder);
  for (const auto& [type, table] : tables) write_file_atomically(folder / (type + ".csv"), table.text());
  if (!std::filesystem::exists(folder)) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path& file = entry.path();
    if (file.extension() == ".csv" && !tables.contains(file.stem())) std::filesystem::remove(file);
  }
}

}  // namespace

std::optional<Json> Results::row(const std::string& id) const {
  return read_json(cell(id) / "row.json", "delete the cell's folder and run again");
}

std::optional<Json> Results::plan() const { return read_json(folder_ / "plan.json", "delete the file and run again"); }

void Results::write_plan(const std::string& experiment, const std::vector<Cell>& cells) const {
  Json plan{{"experiment", experiment}, {"cells", Json::array()}};
  for (const Cell& cell : cells) {
    plan["cells"].push_back({{"id", cell.job->id}, {"axes", cell.job->axes}, {"flops", cell.flops()}});
  }
  const auto file = folder_ / "plan.json";
  const std::string text = plan.dump(1) + "\n";
  if (std::filesystem::exists(file) && read_file(file) == text) return;
  std::filesystem::create_directories(folder_);
  write_file_atomically(file, text);
}

void Results::write(const Job& job, const Json& row, const CellOutput& output, const Dataset* data) const {
  const std::filesystem::path windows = cell(job.id) / "windows.csv";
  if (output.losses.empty()) {
    std::filesystem::remove(windows);  // left by a run that did not fail
  } else {
    std::string csv = "document,start,tokens,nll_sum,nll_square_sum\n";
    for (const WindowLoss& loss : output.losses) {
      csv += fmt::format("{},{},{},{:.17g},{:.17g}\n",
                         csv_field(data->documents[static_cast<std::size_t>(loss.window.document)].id),
                         loss.window.begin, loss.nll.count, loss.nll.sum, loss.nll.square_sum);
    }
    write_file_atomically(windows, csv);
  }
  for (const char* file : {"search.csv", "scales.json"}) {
    if (!output.search) std::filesystem::remove(cell(job.id) / file);
  }
  if (output.search) {
    write_file_atomically(cell(job.id) / "search.csv", output.search->history.text());
    write_file_atomically(cell(job.id) / "scales.json", output.search->scales.dump(1) + "\n");
  }
  write_tables(cell(job.id) / "diagnostics", output.diagnostics);
  write_tables(cell(job.id) / "metrics", output.curves);
  write_tables(cell(job.id) / "tasks", output.tasks);
  write_file_atomically(cell(job.id) / "resolved.yaml", to_yaml(job.resolved));
  write_file_atomically(cell(job.id) / "row.json", row.dump(1) + "\n");
}

std::vector<Json> Results::rows() const {
  if (!std::filesystem::is_directory(folder_ / "cells")) {
    fail("{}: no results here (no folder cells); give the folder that `qroar run` wrote, such as results/quickstart",
         folder_.string());
  }
  std::vector<Json> rows;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cells")) {
    if (auto found = row(entry.path().filename())) rows.push_back(std::move(*found));
  }
  std::map<std::string, std::size_t> places;  // from 1
  if (const auto planned = plan())
    for (const Json& cell : (*planned)["cells"]) places.emplace(cell["id"], places.size() + 1);
  const auto key = [&](const Json& r) {
    const auto place = places.find(r["id"]);
    return std::tuple(place == places.end() ? 0 : place->second, r["environment"]["started"].get<std::string>(),
                      r["id"].get<std::string>());
  };
  std::sort(rows.begin(), rows.end(), [&](const Json& a, const Json& b) { return key(a) < key(b); });
  return rows;
}

void Results::derive_rows_file() const {
  const auto lines_now = [&] {
    std::string lines;
    for (const Json& row : rows()) lines += row.dump() + "\n";
    return lines;
  };
  // Again until nothing changed meanwhile: another process' row and file may have come between our look and our write.
  std::string written;
  for (std::string lines = lines_now(); lines != written; lines = lines_now()) {
    write_file_atomically(folder_ / "rows.jsonl", lines);
    written = std::move(lines);
  }
}

std::vector<WindowRecord> read_windows(const std::filesystem::path& file) {
  std::vector<WindowRecord> records;
  const std::string text = read_file(file);
  std::size_t line_number = 1;
  for (std::size_t begin = text.find('\n') + 1; begin < text.size(); begin = text.find('\n', begin) + 1) {
    const auto fields = csv_fields(text.substr(begin, text.find('\n', begin) - begin));
    ++line_number;
    if (fields.size() != 5) fail("{}:{}: expected 5 fields, found {}", file.string(), line_number, fields.size());
    records.push_back({fields[0],
                       number<int64_t>(fields[1], file, line_number),
                       {number<int64_t>(fields[2], file, line_number), number<double>(fields[3], file, line_number),
                        number<double>(fields[4], file, line_number)}});
  }
  return records;
}

namespace {

/// "shared ×6 searched (cma_es)": the block `rescale` without what says little in a table.
std::string bands_label(const Json& block) {
  std::string label = block.value("variant", "shared");
  if (block.contains("bands")) label += " ×" + block["bands"].dump();
  if (block.contains("edges")) label += " edges " + block["edges"].dump();
  if (block.value("per_layer", false)) label += " per layer";
  for (const char* key : {"scales", "file"}) {
    if (block.contains(key)) label += " " + axis_label(block[key]);
  }
  if (!block.contains("search")) return label;
  label += " searched";
  const Json& search = block["search"];
  if (search.contains("strategy")) label += " (" + axis_label(search["strategy"]) + ")";
  if (search.contains("grid") && search["grid"].contains("points"))
    label += " points=" + search["grid"]["points"].dump();
  return label;
}

}  // namespace

std::string axis_label(const Json& value, char bits_of) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const bool has_control = std::ranges::any_of(text, [](unsigned char c) { return std::iscntrl(c) != 0; });
    return has_control ? value.dump() : text;
  }
  if (value.is_array()) {
    std::string label;
    for (const Json& item : value) label += (label.empty() ? "" : " + ") + axis_label(item);
    return label.empty() ? "none" : label;
  }
  if (!value.is_object()) return value.dump();
  if (value.contains("weight") || value.contains("input")) {  // a rule of `quant`
    std::string label;
    for (const auto& [part, letter] : {std::pair("weight", 'W'), std::pair("input", 'A')}) {
      const std::string text = value.contains(part) ? axis_label(value[part], letter) : "none";
      if (text != "none") label += (label.empty() ? "" : ", ") + text;
    }
    return label.empty() ? "none" : label;
  }
  std::string label = value.contains("type") ? value["type"].get<std::string>() : "";
  if (label == "bands") return bands_label(value);
  if (label == "multiple_choice") label.clear();  // its file says what it is
  for (const auto& [key, entry] : value.items()) {
    const char operand = key == "key" ? 'K' : key == "value" ? 'V' : key == "query" ? 'Q' : bits_of;
    const std::string text = axis_label(entry, operand);
    if (key == "type" || (key == "factor" && text == "auto") || key == "prompt") continue;
    label += label.empty() ? "" : " ";
    if (key == "pad")
      label += "padded to " + entry.value("tokens", Json()).dump();
    else if (key == "path")
      label += std::filesystem::path(text).stem();
    else if (key == "bits")
      label += bits_of + text;
    else if (key == "factor")
      label += "×" + text;
    else if (key == "group")
      label += entry == 0 ? "per row" : entry == -1 ? "per tensor" : "g" + text;
    else
      label += key + "=" + text;
  }
  return label;
}

}  // namespace qroar
