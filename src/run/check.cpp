#include "run/check.h"

#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/utf8.h"
#include "run/cost.h"
#include "run/sweep.h"

namespace qroar {

bool check_files(const std::vector<std::string>& files, const std::vector<std::string>& overrides,
                 const std::filesystem::path& results) {
  bool all_ok = true;
  for (const std::filesystem::path file : files) {
    try {
      std::vector<Job> jobs = parse_experiment(file, overrides);
      const std::vector<Cell> cells = plan(jobs);
      check_opened(cells);
      RunOptions options;
      options.file = file;
      const std::filesystem::path usual = folder_of_results(options);
      options.results = results;
      const std::vector<Cell> left = unfinished(cells, results_folder(options));
      fmt::print("{}: {} jobs{}\n  {}\n", visible(file.string()), jobs.size(),
                 left.size() < cells.size() ? fmt::format(", {} of them finished", cells.size() - left.size()) : "",
                 cost_of(left, {folder_of_results(options), usual}));
    } catch (const Error& error) {
      fmt::print(stderr, "{}\n", error.what());
      all_ok = false;
    } catch (const std::filesystem::filesystem_error& error) {
      fmt::print(stderr, "{}: {}\n", visible(file.string()), in_one_line(error));
      all_ok = false;
    }
  }
  return all_ok;
}

}  // namespace qroar
