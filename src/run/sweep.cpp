#include "run/sweep.h"

#include <c10/core/GradMode.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/host.h"
#include "base/stop.h"
#include "ops/device.h"
#include "report/show.h"
#include "run/cell_runner.h"
#include "run/queue.h"
#include "run/shared_passes.h"
#include "run/submission.h"

namespace qroar {
namespace {

/// This process's share of a sweep.
class Sweep {
 public:
  /// `file`: see original_of().
  Sweep(const Results& results, const std::filesystem::path& file, bool rerun)
      : results_(results), file_(file), rerun_(rerun), runner_(results, file.stem(), rerun) {}

  std::vector<Cell> unfinished(std::vector<Cell> cells) {
    const std::size_t all = cells.size();
    std::erase_if(cells, [&](const Cell& cell) { return runner_.is_finished(cell, results_.row(cell.job->id)); });
    if (cells.size() < all) spdlog::info("{} of {} cells were finished already", all - cells.size(), all);
    return cells;
  }

  /// Throws an Error when a device does not exist or no model can be opened, before anything is written.
  void check(const std::vector<Cell>& cells) {
    for (const Cell& cell : cells) {
      if (cell.job->model.open_error.empty()) ops::parse_device(cell.job->model.spec.device);
    }
    if (std::ranges::none_of(cells, [](const Cell& cell) { return cell.job->model.open_error.empty(); }))
      check_opened(cells);
  }

  /// Runs the cells that are not finished (all of them with `rerun`), or waits until other processes have; returns
  /// false when one failed.
  bool run_all(std::vector<Cell> cells) {
    for (const Cell& cell : cells) {  // first: rows that appear later are from other processes
      if (auto row = results_.row(cell.job->id)) before_.emplace(cell.job->id, std::move(*row));
    }
    if (!rerun_) cells = unfinished(std::move(cells));
    double flops = 0;
    for (const Cell& cell : cells) flops += cell.flops();
    runner_.expect(flops);
    Claims claims(results_.folder());
    std::vector<CellState> states(cells.size(), CellState::open);
    std::optional<std::size_t> last;
    bool all_ok = true;
    while (true) {
      results_.check_owner(file_);  // two experiments may have started at the same moment
      if (std::ranges::all_of(states, [](CellState state) { return state == CellState::done; })) break;
      throw_if_stop_requested();
      look(claims, cells, states);
      auto next = next_cell(states, last);
      if (!next) {
        std::this_thread::sleep_for(kPoll);
        continue;
      }
      last = next = longest(cells, states, *next);
      const auto ok = take(claims, cells, states, *next);
      if (!ok) continue;
      states[*next] = CellState::done;
      all_ok = all_ok && *ok;
    }
    claims.tidy([&](const std::string& id) {
      const auto row = results_.row(id);
      if (row && (*row)["status"] == "ok") PartialCell::remove(results_.cell(id));
      remove_stale_temporaries(results_.cell(id), /*below=*/true);
    });
    remove_stale_temporaries(results_.folder());
    return all_ok;
  }

 private:
  static constexpr std::chrono::milliseconds kPoll{500};

  /// Updates which cells other processes hold.
  void look(Claims& claims, const std::vector<Cell>& cells, std::vector<CellState>& states) {
    const std::map<std::string, Json> held = claims.look();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (states[i] == CellState::done) continue;
      const auto claim = held.find(cells[i].job->id);
      const bool is_held = claim != held.end() && claim->second["dead"] == false;
      if (is_held && logged_.insert(claim->first).second) {
        runner_.progress().clear();
        spdlog::info("cell {} is run by process {} on {}", claim->first, claim->second["pid"].dump(),
                     claim->second["host"].get<std::string>());
      }
      states[i] = is_held ? CellState::held : CellState::open;
    }
  }

  /// Returns whether the cell is ok, once it has a row; nothing while another process has it.
  std::optional<bool> take(Claims& claims, const std::vector<Cell>& cells, const std::vector<CellState>& states,
                           std::size_t chosen) {
    const Cell& cell = cells[chosen];
    if (const auto ok = finished_by_another(cell)) return ok;
    const std::unique_ptr<Claim> claim = claims.take(cell.job->id);
    if (claim == nullptr) return std::nullopt;
    if (const auto ok = finished_by_another(cell)) return ok;
    std::vector<HeldCell> companions;
    // Cells of one model are neighbours, and those with longer windows come first.
    for (std::size_t i = chosen + 1; i < cells.size() && cells[i].job->shared == cell.job->shared; ++i) {
      if (states[i] != CellState::open || !profits(cell, cells[i]) || has_new_row(cells[i])) continue;
      if (auto held = claims.take(cells[i].job->id)) companions.push_back({&cells[i], std::move(held)});
    }
    return runner_.run(cell, *claim, companions);
  }

  /// Returns the first open cell whose passes `next` may share, or `next` itself.
  static std::size_t longest(const std::vector<Cell>& cells, const std::vector<CellState>& states, std::size_t next) {
    std::size_t first = next;
    for (std::size_t i = next; i-- > 0 && cells[i].job->shared == cells[next].job->shared;) {
      if (states[i] == CellState::open && profits(cells[i], cells[next])) first = i;
    }
    return first;
  }

  /// Returns whether a row has appeared since this process first looked.
  bool has_new_row(const Cell& cell) const {
    const auto row = results_.row(cell.job->id);
    const auto before = before_.find(cell.job->id);
    return row && (before == before_.end() || before->second != *row);
  }

  /// Returns whether the cell is ok, where a row has appeared since this process first looked.
  std::optional<bool> finished_by_another(const Cell& cell) {
    if (!has_new_row(cell)) return std::nullopt;
    const auto row = results_.row(cell.job->id);
    const bool ok = (*row)["status"] == "ok";
    if (ok && !runner_.is_finished(cell, row)) return std::nullopt;
    runner_.skip(cell);
    return ok;
  }

  Results results_;
  std::filesystem::path file_;
  bool rerun_;
  CellRunner runner_;
  std::map<std::string, Json> before_;  ///< rows from before this run, which do not count
  std::set<std::string> logged_;        ///< cells of other processes that were already logged
};

/// Returns the cells whose ids begin with one of options.only.
std::vector<Cell> only(std::vector<Cell> cells, const RunOptions& options) {
  std::vector<std::string> unused = options.only;
  if (std::ranges::find(unused, "") != unused.end())  // which begins every id
    fail("--only: an id is empty; give ids, or leave it out to run all cells");
  std::erase_if(cells, [&](const Cell& cell) {
    const auto begins_so = [&](const std::string& id) { return cell.job->id.starts_with(id); };
    std::erase_if(unused, begins_so);
    return std::ranges::none_of(options.only, begins_so);
  });
  if (!unused.empty())
    fail("--only {}: no cell of {} has an id that begins so", fmt::join(unused, ","), options.file.string());
  return cells;
}

std::vector<PlannedCell> planned(const std::vector<Cell>& cells) {
  std::vector<PlannedCell> listed;
  for (const Cell& cell : cells) listed.push_back({cell.job->id, cell.job->axes, cell.flops()});
  return listed;
}

/// Returns the part that options.shard names; empty where there are fewer parts.
std::vector<Cell> shard(std::vector<Cell> cells, const RunOptions& options) {
  if (options.shards == 1) return cells;
  const std::size_t all = cells.size();
  std::vector<std::vector<Cell>> parts = packed_cells(std::move(cells), static_cast<std::size_t>(options.shards));
  if (options.shard <= std::ssize(parts)) return parts[static_cast<std::size_t>(options.shard - 1)];
  spdlog::info("shard {}/{} of {} cells is empty", options.shard, options.shards, all);
  return {};
}

}  // namespace

std::filesystem::path results_folder(const RunOptions& options) {
  return options.results.empty() ? std::filesystem::path("results") / options.file.stem() : options.results;
}

std::filesystem::path folder_of_results(const RunOptions& options) {
  return (std::filesystem::absolute(results_folder(options)) / "").parent_path().parent_path();
}

std::vector<Cell> unfinished(std::vector<Cell> cells, const std::filesystem::path& results) {
  return Sweep(Results(results), "", false).unfinished(std::move(cells));
}

void print_rows(const Results& results, const std::vector<Json>& rows, const std::vector<Job>& jobs) {
  ShowOptions options;
  options.planned.emplace();
  for (const Job& job : jobs) options.planned->insert(job.id);
  fmt::print("{}", show(results, rows, options));
}

bool run_experiment(const RunOptions& options) {
  const c10::NoGradGuard no_grad;  // a search could not differentiate InferenceMode's tensors
  ops::use_whole_float32();
  ops::keep_freed_memory();
  std::vector<Job> jobs = parse_experiment(options.file, options.overrides);
  const std::filesystem::path file = original_of(options.file);
  const Results results(results_folder(options));
  results.check_owner(file);

  const std::vector<Cell> all = plan(jobs);
  std::vector<Cell> cells = group_by_shared(all);
  if (!options.only.empty()) cells = only(std::move(cells), options);
  cells = longest_first(shard(std::move(cells), options));
  Sweep sweep(results, file, options.rerun);
  sweep.check(cells);
  results.write_plan(file, planned(all));
  if (cells.empty()) return true;
  const bool all_ok = sweep.run_all(std::move(cells));
  print_rows(results, results.derive_rows_file(), jobs);
  return all_ok;
}

}  // namespace qroar
