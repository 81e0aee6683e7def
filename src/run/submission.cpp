#include "run/submission.h"

#include "base/error.h"
#include "base/files.h"
#include "run/cell.h"
#include "run/cost.h"

namespace qroar {
namespace {

std::filesystem::path mirrored(const std::filesystem::path& configs, const std::filesystem::path& file) {
  return configs / std::filesystem::absolute(file).lexically_normal().relative_path();
}

void copy_configs(const ConfigSources& sources, const std::filesystem::path& configs) {
  for (const std::filesystem::path& file : sources.files) {
    const std::filesystem::path copy = mirrored(configs, file);
    std::filesystem::create_directories(copy.parent_path());
    std::filesystem::copy_file(file, copy, std::filesystem::copy_options::skip_existing);
  }
  for (const std::filesystem::path& path : sources.beside) {
    const std::filesystem::path link = mirrored(configs, path);
    if (std::filesystem::exists(std::filesystem::symlink_status(link))) continue;
    std::filesystem::create_directories(link.parent_path());
    std::filesystem::create_symlink(std::filesystem::absolute(path).lexically_normal(), link);
  }
}

}  // namespace

std::optional<std::filesystem::path> pack_submission(const PackOptions& pack, const std::filesystem::path& folder) {
  const RunOptions& options = pack.run;
  if (folder.empty()) fail("--into: is empty; name a new folder");
  if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder))
    fail("{}: is there already; name a new folder", folder.string());
  const ConfigSources sources = sources_of(options.file);
  std::vector<Job> jobs = parse_experiment(options.file, options.overrides);
  Results(results_folder(options)).check_owner(original_of(options.file));
  std::string tasks;
  const std::vector<Cell> cells = plan(jobs);
  check_opened(cells);
  const std::vector<Cell> left = unfinished(cells, results_folder(options));
  auto parts = static_cast<std::size_t>(options.shards);
  if (pack.hours > 0 && !left.empty())
    parts = parts_of_hours(left, pack.hours, pack.device, folder_of_results(options));
  for (const std::vector<Cell>& part : packed_cells(left, parts)) {
    std::string ids;
    for (const Cell& cell : part) ids += (ids.empty() ? "" : ",") + cell.job->id;
    tasks += ids + "\n";
  }
  if (tasks.empty()) return std::nullopt;
  write_folder_atomically(folder, [&](const std::filesystem::path& fresh) {
    std::filesystem::copy_file("/proc/self/exe", fresh / "qroar");
    copy_configs(sources, fresh / "configs");
    write_file_atomically(fresh / "tasks", tasks);
  });
  return mirrored(folder / "configs", options.file);
}

std::filesystem::path original_of(const std::filesystem::path& file) {
  const std::filesystem::path path = std::filesystem::absolute(file).lexically_normal();
  for (std::filesystem::path above = path.parent_path(); above.has_relative_path(); above = above.parent_path()) {
    const auto beside = [&](const char* name) { return std::filesystem::is_regular_file(above.parent_path() / name); };
    if (above.filename() == "configs" && beside("qroar") && beside("tasks"))
      return original_of("/" / path.lexically_relative(above));
  }
  return path;
}

}  // namespace qroar
