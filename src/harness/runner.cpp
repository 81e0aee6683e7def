#include "harness/runner.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/progress.h"
#include "base/stop.h"
#include "harness/cell.h"
#include "harness/claims.h"
#include "harness/environment.h"
#include "harness/exports.h"
#include "harness/find_scales.h"
#include "harness/models.h"
#include "harness/partial.h"
#include "harness/queue.h"
#include "harness/results.h"
#include "harness/show.h"
#include "model/angles.h"
#include "ops/device.h"

namespace qroar {
namespace {

using Clock = std::chrono::steady_clock;

/// Copies the log into the cell's folder while the cell runs.
class CellLog {
 public:
  explicit CellLog(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    sink_ = std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "log.txt").string(), /*truncate=*/true);
    spdlog::default_logger()->sinks().push_back(sink_);
  }
  ~CellLog() { std::erase(spdlog::default_logger()->sinks(), sink_); }

 private:
  spdlog::sink_ptr sink_;
};

/// Angles of the last lengths asked for: windows of one cell mostly share theirs, and a search goes to and fro between
/// its lengths.
AnglesOf cached_angles(const Job& job, const Llama& original) {
  constexpr std::size_t kKept = 4;
  auto last = std::make_shared<std::deque<std::pair<int64_t, ops::RopeAngles>>>();
  const at::Device device = original.embed_tokens_VD.device();
  return [&job, original, device, last](int64_t length) {
    const auto known = std::ranges::find(*last, length, &std::pair<int64_t, ops::RopeAngles>::first);
    if (known != last->end()) return known->second;
    if (last->size() == kKept) last->pop_front();
    const RopeTable table = job.table(length, original);
    last->emplace_back(length, rope_angles(table, length, job.model.dtype, device, job.model.bfloat16_rope));
    return last->back().second;
  };
}

class Runner {
 public:
  Runner(Results results, std::string experiment) : results_(std::move(results)), experiment_(std::move(experiment)) {}

  std::vector<Cell> unfinished(std::vector<Cell> cells) {
    const std::size_t all = cells.size();
    std::erase_if(cells, [&](const Cell& cell) { return is_finished(cell, results_.row(cell.job->id)); });
    if (cells.size() < all) spdlog::info("{} of {} cells were finished already", all - cells.size(), all);
    return cells;
  }

  /// An Error where a device is not there, or the first cell's model or texts are damaged: before anything is written.
  void check(const std::vector<Cell>& cells) {
    for (const Cell& cell : cells) ops::parse_device(cell.job->model.device);
    if (!cells.empty()) inputs_of(cells.front());
  }

  /// Runs the cells that are not finished (all of them with `rerun`), or waits until other processes have; false when
  /// one failed.
  bool run_all(std::vector<Cell> cells, bool rerun) {
    rerun_ = rerun;
    for (const Cell& cell : cells) {  // first: what comes later is another process' work of now
      if (auto row = results_.row(cell.job->id)) before_.emplace(cell.job->id, std::move(*row));
    }
    if (!rerun) cells = unfinished(std::move(cells));
    double flops = 0;
    for (const Cell& cell : cells) flops += cell.flops();
    progress_.emplace(flops);
    Claims claims(results_.folder());
    std::vector<CellState> states(cells.size(), CellState::open);
    std::optional<std::size_t> last;
    bool all_ok = true;
    while (!std::ranges::all_of(states, [](CellState state) { return state == CellState::done; })) {
      stop_if_asked();
      look(claims, cells, states);
      const auto next = next_cell(states, last);
      if (!next) {
        std::this_thread::sleep_for(kPoll);
        continue;
      }
      last = next;
      const auto ok = take(claims, cells[*next]);
      if (!ok) continue;
      states[*next] = CellState::done;
      all_ok = all_ok && *ok;
    }
    claims.tidy([&](const std::string& id) {
      const auto row = results_.row(id);
      if (row && (*row)["status"] == "ok") PartialCell::remove(results_.cell(id));
      remove_left_by_dead(results_.cell(id), /*below=*/true);
    });
    remove_left_by_dead(results_.folder());
    return all_ok;
  }

 private:
  static constexpr std::chrono::milliseconds kPoll{500};

  /// Which cells others are at.
  void look(Claims& claims, const std::vector<Cell>& cells, std::vector<CellState>& states) {
    const std::map<std::string, Json> held = claims.look();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (states[i] == CellState::done) continue;
      const auto claim = held.find(cells[i].job->id);
      const bool is_held = claim != held.end() && claim->second["dead"] == false;
      if (is_held && told_.insert(claim->first).second) {
        progress_->clear();
        spdlog::info("cell {} is run by process {} on {}", claim->first, claim->second["pid"].dump(),
                     claim->second["host"].get<std::string>());
      }
      states[i] = is_held ? CellState::held : CellState::open;
    }
  }

  /// Whether the cell is ok, once it has a row; nothing while another process has it.
  std::optional<bool> take(Claims& claims, const Cell& cell) {
    if (const auto ok = finished_by_another(cell)) return ok;
    const std::unique_ptr<Claim> claim = claims.take(cell.job->id);
    if (claim == nullptr) return std::nullopt;
    if (const auto ok = finished_by_another(cell)) return ok;
    claim_ = claim.get();
    const auto ok = run(cell);
    claim_ = nullptr;
    return ok;
  }

  /// Whether the cell is ok, where a row has come since this process looked at first.
  std::optional<bool> finished_by_another(const Cell& cell) {
    const auto row = results_.row(cell.job->id);
    const auto before = before_.find(cell.job->id);
    if (!row || (before != before_.end() && before->second == *row)) return std::nullopt;
    const bool ok = (*row)["status"] == "ok";
    if (ok && !is_finished(cell, row)) return std::nullopt;
    advance(cell.flops(), *cell.job);
    return ok;
  }

  /// Does a finished row stand for this cell with the very inputs of now?
  bool is_finished(const Cell& cell, const std::optional<Json>& row) {
    if (!row || (*row)["status"] != "ok") return false;
    const Json& inputs = (*row)["environment"]["inputs"];
    if (inputs == inputs_of(cell)) return !cell.job->exported || is_exported(*cell.job);
    spdlog::warn("cell {}: its model, data or RoPE factors changed since its row was written; running it again",
                 cell.job->id);
    return false;
  }

  /// Runs one cell and writes its row; false when it failed, nothing when another process took it over meanwhile.
  std::optional<bool> run(const Cell& cell) {
    const Job& job = *cell.job;
    const at::Device device = ops::parse_device(job.model.device);
    const c10::DeviceGuard guard(device);  // our kernels run on the current device
    const Json inputs = inputs_of(cell);
    const CellLog log(results_.cell(job.id));
    remove_left_by_dead(results_.cell(job.id), /*below=*/true);
    Json row{{"id", job.id},
             {"experiment", experiment_},
             {"axes", job.axes},
             {"status", "ok"},
             {"error", nullptr},
             {"metrics", Json::object()},
             {"seconds", nullptr},
             {"tokens_per_second", nullptr},
             {"model_tflops_per_second", nullptr},
             {"peak_bytes", nullptr}};
    Json environment = describe_environment(device);
    environment["inputs"] = inputs;
    environment["trained_length"] = job.llama.trained_length;
    spdlog::info("cell {} {}", job.id, axis_label(job.axes));
    CellOutput output;
    begun_ = done_;
    running_ = cell.flops();
    PartialCell partial(
        results_.cell(job.id),
        {{"inputs", inputs}, {"commit", environment["commit"]}, {"device", device.is_cpu() ? "cpu" : "cuda"}}, rerun_);
    try {
      output = evaluate_cell(cell, device, partial, row);
    } catch (const c10::Error& error) {
      row["error"] = error.what_without_backtrace();
    } catch (const InternalError&) {
      throw;
    } catch (const Stopped&) {
      throw;
    } catch (const std::exception& error) {
      row["error"] = error.what();
    }
    advance(cell.flops() - (done_ - begun_), job);
    if (!claim_->is_held()) {
      progress_->clear();
      spdlog::warn("cell {}: another process took it over while this one did not answer; it is left to that one",
                   job.id);
      return std::nullopt;
    }
    const bool ok = row["error"].is_null();
    if (!ok) {
      row["status"] = "failed";
      progress_->clear();
      spdlog::error("cell {} failed: {}", job.id, row["error"].get<std::string>());
    }
    environment["ended"] = utc_now();
    row["environment"] = environment;
    row["config"] = job.resolved;
    results_.write(job, row, output, cell.data.get());
    if (ok) PartialCell::remove(results_.cell(job.id));
    return ok;
  }

  /// Hashes of the contents that the configuration only names by path.
  Json inputs_of(const Cell& cell) {
    const RopeTable table = cell.job->rope->table(cell.job->geometry, cell.job->windows.length);
    Json inputs{{"model", models_.hash(*cell.job)}};
    if (cell.data != nullptr) inputs["data"] = cell.data->hash;
    inputs["rope"] = hash_bytes(Json(table.inv_freq).dump());
    for (const auto& task : cell.job->tasks) inputs["tasks"].push_back(task->hash());
    if (cell.calibration != nullptr) inputs["calibration"] = cell.calibration->hash;
    if (cell.dev != nullptr) inputs["dev"] = cell.dev->hash;
    if (cell.dev_calibration != nullptr) inputs["dev_calibration"] = cell.dev_calibration->hash;
    const Json scales = cell.job->rescaling->weights_key();
    if (!scales.is_null()) inputs["scales"] = hash_bytes(scales.dump());
    return inputs;
  }

  CellOutput evaluate_cell(const Cell& cell, const at::Device& device, PartialCell& partial, Json& row) {
    const Job& job = *cell.job;
    check_memory(cell, device);
    const auto before = Clock::now();
    progress_->clear();
    const Llama original = models_.original(job, device);
    const AnglesOf angles_of = cached_angles(job, original);
    CellOutput output;
    job.rescaling->check_checkpoint(models_.hash(job));
    const auto rescaling =
        job.rescaling->search() == nullptr ? job.rescaling : find_scales(cell, models_, original, angles_of, output);
    const Recipe recipe{job, *rescaling, job.quantization, cell.calibration.get()};
    const Llama& model = models_.model(recipe, device);  // which may calibrate
    progress_->leave_out(Clock::now() - before);
    at::manual_seed(static_cast<uint64_t>(job.seed));
    ops::reset_peak_bytes(device);
    score_windows(cell, model, angles_of, partial, output, row);
    run_tasks(cell, model, original, angles_of, output, row);
    row["peak_bytes"] = ops::peak_bytes(device);
    if (!job.diagnostics.empty()) output.diagnostics = diagnose(cell, model, angles_of);
    if (job.exported) export_cell(job, original, *rescaling, model);
    if (output.search) row["search"] = output.search->summary;
    if (!job.controls.empty()) row["controls"] = job.controls;
    return output;
  }

  static void put(const std::vector<MetricValue>& values, Json& row) {
    for (const MetricValue& value : values) {
      row["metrics"][value.name] = {{"value", value.value}, {"stderr", value.stderr_}, {"count", value.count}};
    }
  }

  void score_windows(const Cell& cell, const Llama& model, const AnglesOf& angles_of, PartialCell& partial,
                     CellOutput& output, Json& row) {
    if (cell.data == nullptr) return;
    const Job& job = *cell.job;
    const std::vector<Document>& documents = cell.data->documents;
    std::optional<Llama> full;
    if (job.needs_reference()) full = models_.full(job.quantization);
    if (partial.found() > 0) spdlog::info("cell {}: {} windows were finished already", job.id, partial.found());
    partial.start_clock();
    const auto metrics = job.fresh_metrics();
    output.losses = evaluate({model, full ? &*full : nullptr, angles_of, documents, cell.windows, job.windows.feed},
                             metrics, &partial, [&](const Window& window) {
                               advance(cell.flops(window), job);
                               stop_if_asked();
                             });
    double tokens = 0;
    for (const Window& window : cell.windows) tokens += static_cast<double>(tokens_seen(window, job.windows.feed));
    row["seconds"] = partial.seconds();
    row["tokens_per_second"] = tokens / partial.seconds();
    row["model_tflops_per_second"] = cell.flops() / partial.seconds() / 1e12;
    for (const auto& metric : metrics) {
      put(metric->values(job.windows.aggregate, documents), row);
      if (auto curve = metric->curve()) output.curves.insert(std::move(*curve));
    }
  }

  /// Where there are windows, too, their time is not in the row's.
  void run_tasks(const Cell& cell, const Llama& model, const Llama& original, const AnglesOf& angles_of,
                 CellOutput& output, Json& row) {
    const Job& job = *cell.job;
    const TableOf table_of = [&](int64_t length) { return job.table(length, original); };
    const auto start = Clock::now();
    auto told = start;
    for (const auto& task : job.tasks) {
      const std::function<void(double)> tell = [&](double done) {
        stop_if_asked();
        if (cell.data == nullptr) claim_->tell(done);
        if (Clock::now() - told < std::chrono::seconds(10)) return;
        told = Clock::now();
        spdlog::info("cell {} {}: {:.0f} %", job.id, task->name(), 100 * done);
      };
      TaskResult result =
          task->run({model, angles_of, table_of, job.model.bfloat16_rope, *job.tokenizer, job.windows.length, tell});
      put(result.values, row);
      output.tasks[task->name()] = std::move(result.items);
    }
    if (cell.data == nullptr) row["seconds"] = std::chrono::duration<double>(Clock::now() - start).count();
  }

  /// Their time and memory are not the evaluation's: neither is in the row.
  std::map<std::string, CsvTable> diagnose(const Cell& cell, const Llama& model, const AnglesOf& angles_of) {
    const Job& job = *cell.job;
    const Llama full = models_.full(job.quantization);
    const DiagnosticInput input{
        full,      model,     job.quantization.plan, cell.data->documents, cell.windows, job.windows.feed,
        angles_of, *job.rope, job.geometry};
    std::map<std::string, CsvTable> tables;
    for (const auto& [type, diagnostic] : job.diagnostics) {
      const auto start = Clock::now();
      tables[type] = diagnostic->run(input);
      progress_->clear();
      spdlog::info("cell {} {}: {:.1f} s", job.id, type, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return tables;
  }

  void advance(double flops, const Job& job) {
    done_ += flops;
    if (claim_ != nullptr && running_ > 0) claim_->tell((done_ - begun_) / running_);
    progress_->advance(flops, axis_label(job.axes));
  }

  Results results_;
  std::string experiment_;
  std::optional<Progress> progress_;  ///< over the cells that run_all() has to run
  Models models_;
  double done_ = 0, begun_ = 0, running_ = 0;  ///< work of all cells, of those before this one, and of this one
  bool rerun_ = false;                         ///< nothing of earlier runs is used
  Claim* claim_ = nullptr;                     ///< on the cell that is running
  std::map<std::string, Json> before_;         ///< rows that were there and do not count
  std::set<std::string> told_;                 ///< cells of other processes that the log has named
};

/// Those whose ids begin as one of options.only.
std::vector<Cell> only(std::vector<Cell> cells, const RunOptions& options) {
  std::vector<std::string> unused = options.only;
  std::erase_if(cells, [&](const Cell& cell) {
    const auto begins_so = [&](const std::string& id) { return cell.job->id.starts_with(id); };
    std::erase_if(unused, begins_so);
    return std::ranges::none_of(options.only, begins_so);
  });
  if (!unused.empty())
    fail("--only {}: no cell of {} has an id that begins so", fmt::join(unused, ","), options.file.string());
  return cells;
}

/// The part that options.shard names; empty where there are fewer parts.
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

std::vector<Cell> unfinished(std::vector<Cell> cells, const std::filesystem::path& results) {
  return Runner(Results(results), "").unfinished(std::move(cells));
}

bool run_experiment(const RunOptions& options) {
  const c10::NoGradGuard no_grad;  // InferenceMode's tensors could not be differentiated by a search
  std::vector<Job> jobs = parse_experiment(options.file, options.overrides);
  const std::string experiment = options.file.stem();
  const Results results(results_folder(options));

  const std::vector<Cell> all = plan(jobs);
  std::vector<Cell> cells = with_sharing_neighbours(all);
  if (!options.only.empty()) cells = only(std::move(cells), options);
  cells = shard(std::move(cells), options);
  Runner runner(results, experiment);
  runner.check(cells);
  results.write_plan(experiment, all);
  if (cells.empty()) return true;
  const bool all_ok = runner.run_all(std::move(cells), options.rerun);
  results.derive_rows_file();

  std::vector<Json> rows;
  for (const Job& job : jobs) {
    if (auto row = results.row(job.id)) rows.push_back(std::move(*row));
  }
  fmt::print("{}", show(results, rows, {}));
  return all_ok;
}

}  // namespace qroar
