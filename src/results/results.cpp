#include "results/results.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/csv.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/warn_once.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns the content of the file after `check_shape` has checked it.
Json read_state(const std::filesystem::path& file, const std::string& remedy,
                const std::function<void(const Json&, const Refuse&)>& check_shape) {
  Json found = read_json_object(file, remedy);
  check_shape(found, [&](const std::string& what) {
    fail("{}: {}, so that this program did not write it; {}", file.string(), what, remedy);
  });
  return found;
}

/// Returns what stands for the row of a damaged file: one without any result.
Json damaged_row(const std::string& id, const std::string& error) {
  return {{"id", id},       {"experiment", nullptr},     {"axes", Json::object()},        {"status", "damaged"},
          {"error", error}, {"metrics", Json::object()}, {"environment", Json::object()}, {"config", Json::object()}};
}

/// Returns the experiment's file that a plan names; empty for a plan that does not exist, is damaged, or was written by
/// a version that named none.
std::filesystem::path owner_in(const std::filesystem::path& plan) {
  const Json found = try_read_json_object(plan).value_or(Json::object());
  const Json& file = value_at(found, "/file");
  return file.is_string() ? file.get<std::string>() : "";
}

std::string windows_csv(const std::vector<WindowRecord>& windows) {
  std::string csv = "document,start,tokens,nll_sum,nll_square_sum,group\n";
  for (const auto& [document, start, nll, group] : windows) {
    csv += fmt::format("{},{},{},{:.17g},{:.17g},{}\n", csv_field(document), start, nll.count, nll.sum, nll.square_sum,
                       csv_field(group));
  }
  return csv;
}

/// Without records removes what an earlier run, which succeeded, has left.
template <class Record>
void write_or_remove(const std::filesystem::path& file, const std::vector<Record>& records,
                     std::string (*text_of)(const std::vector<Record>&)) {
  if (records.empty())
    std::filesystem::remove(file);
  else
    write_file_atomically(file, text_of(records));
}

/// Keeps the temporary files of other processes, which may be writing into the same cell.
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
  const std::filesystem::path file = cell(id) / "row.json";
  std::error_code unreadable;  // such as that of a link to itself, which read_state() names
  if (!std::filesystem::exists(file, unreadable) && !unreadable) return std::nullopt;
  try {
    return read_state(file, "delete it, and `qroar run` runs the cell again",
                      [&](const Json& row, const Refuse& refuse) { check_row(row, id, refuse); });
  } catch (const Error& error) {
    warn_once(error.what());
    return damaged_row(id, error.what());
  }
}

std::optional<Json> Results::plan() const {
  const std::filesystem::path file = folder_ / "plan.json";
  if (!std::filesystem::exists(file)) return std::nullopt;
  return read_state(file, "delete it, and `qroar run` writes it again", check_plan);
}

void Results::check_owner(const std::filesystem::path& file) const {
  const std::filesystem::path plan = folder_ / "plan.json", owner = owner_in(plan);
  std::error_code missing;
  if (owner.empty() || owner == file || !std::filesystem::exists(owner, missing)) return;
  if (std::filesystem::equivalent(owner, file, missing)) return;
  fail(
      "{}: has the results of another experiment, {}; name another folder for {} with --results, or delete {} to leave "
      "this one to it",
      folder_.string(), owner.string(), file.string(), plan.string());
}

void Results::write_plan(const std::filesystem::path& file, const std::vector<PlannedCell>& cells) const {
  check_owner(file);
  const std::filesystem::path path = folder_ / "plan.json", before = owner_in(path);
  std::error_code missing;
  const bool is_there = std::filesystem::exists(before, missing);  // under this path or, by a link, another path
  if (!is_there && !before.empty() && before != file) {
    spdlog::info("{}: belonged to the experiment {}, which is no longer there, and belongs to {} now", folder_.string(),
                 before.string(), file.string());
  }
  const std::filesystem::path& owner = is_there ? before : file;
  Json plan{{"experiment", owner.stem().string()}, {"file", owner.string()}, {"cells", Json::array()}};
  for (const auto& [id, axes, flops] : cells) {
    plan["cells"].push_back({{"id", id}, {"axes", axes}, {"flops", flops}});
  }
  const std::string text = plan.dump(1) + "\n";
  if (std::filesystem::exists(path) && read_file(path) == text) return;
  std::filesystem::create_directories(folder_);
  write_file_atomically(path, text);
}

void Results::make_cell_folder(const std::string& id) const {
  check_no_link(cell(id));  // `cells` as a whole may be one: scripts/paper runs many experiments into the same cells
  std::filesystem::create_directories(cell(id));
  for (const char* folder : {"diagnostics", "metrics", "tasks"}) check_no_link(cell(id) / folder);
}

void Results::write(const Json& row, const CellOutput& output) const {
  const std::filesystem::path own = cell(row["id"]);
  std::filesystem::remove(own / "row.json");  // an earlier one must not stand beside files of this one
  write_or_remove(own / "windows.csv", output.windows, windows_csv);
  write_or_remove(own / "clusters.csv", output.clusters, clusters_csv);
  for (const char* file : {"search.csv", "scales.json"}) {
    if (!output.search) std::filesystem::remove(own / file);
  }
  if (output.search) {
    write_file_atomically(own / "search.csv", output.search->history.text());
    write_file_atomically(own / "scales.json", output.search->scales.dump(1) + "\n");
  }
  write_tables(own / "diagnostics", output.diagnostics);
  write_tables(own / "metrics", output.curves);
  write_tables(own / "tasks", output.tasks);
  write_file_atomically(own / "resolved.yaml", to_yaml(row["config"]));
  write_file_atomically(own / "row.json", row.dump(1) + "\n");
}

std::vector<Json> Results::rows() const {
  const bool has_cells = std::filesystem::is_directory(folder_ / "cells");
  if (!has_cells && !std::filesystem::exists(folder_ / "plan.json")) {
    fail("{}: no results here (no folder cells); give the folder that `qroar run` wrote, such as results/quickstart",
         folder_.string());
  }
  std::vector<Json> rows;
  if (!has_cells) return rows;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cells")) {
    if (auto found = row(entry.path().filename())) rows.push_back(std::move(*found));
  }
  std::map<std::string, std::size_t> places;  // from 1
  const std::optional<Json> planned = plan();
  if (planned) {
    for (const Json& cell : (*planned)["cells"]) places.emplace(cell["id"], places.size() + 1);
  }
  using Key = std::tuple<std::size_t, std::string, std::string>;
  std::vector<std::pair<Key, Json>> keyed;
  for (Json& row : rows) {
    const auto id = row["id"].get<std::string>();
    const auto place = places.find(id);
    if (place != places.end()) {  // what the experiment calls it now: another one may have run it, or names were added
      row["experiment"] = (*planned)["experiment"];
      row["axes"] = (*planned)["cells"][place->second - 1]["axes"];
    }
    const Json& started = value_at(row, "/environment/started");
    keyed.emplace_back(
        Key{place == places.end() ? 0 : place->second, started.is_string() ? started.get<std::string>() : "", id},
        std::move(row));
  }
  std::ranges::sort(keyed, {}, &std::pair<Key, Json>::first);
  rows.clear();
  for (auto& [key, row] : keyed) rows.push_back(std::move(row));
  return rows;
}

std::string Results::hash_of_cells() const {
  std::string bytes;
  const auto add = [&](const std::filesystem::path& file) {
    try {
      bytes += file.string() + hash_bytes(read_file(file));
    } catch (const Error& error) {
      bytes += error.what();
    }
  };
  add(folder_ / "plan.json");
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cells", missing))
    add(entry.path() / "row.json");
  return hash_bytes(bytes);
}

std::vector<Json> Results::derive_rows_file() const {
  // Repeats until nothing has changed meanwhile: another process may write a row and the file between our read and our
  // write.
  std::vector<Json> found;
  std::string before, now = hash_of_cells();
  do {
    before = now;
    found = rows();
    std::string lines;
    for (const Json& row : found) lines += row.dump() + "\n";
    write_file_atomically(folder_ / "rows.jsonl", lines);
    now = hash_of_cells();
  } while (now != before);
  return found;
}

}  // namespace qroar
