// qroar: parses the command line and runs a command.  Every Error is one line on stderr; exit codes: 0, 1 (user's error
// or a failed cell), 2 (internal), 75 (stopped by a signal).
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/number.h"
#include "base/stop.h"
#include "base/utf8.h"
#include "diagnostics/diagnostic.h"
#include "eval/metric.h"
#include "eval/task.h"
#include "model/family.h"
#include "quant/quantizer.h"
#include "report/show.h"
#include "report/sweep_state.h"
#include "rescale/rescaling.h"
#include "results/results.h"
#include "rope/scheme.h"
#include "run/check.h"
#include "run/environment.h"
#include "run/job.h"
#include "run/submission.h"
#include "run/sweep.h"
#include "run/workers.h"
#include "search/strategy.h"

namespace qroar {
namespace {

/// Returns [{name, summary, example}] of every plugin of a kind.
template <class Interface>
std::pair<std::string, Json> plugins() {
  Json entries = Json::array();
  for (const auto& [name, entry] : Registry<Interface>::instance().entries())
    entries.push_back({{"name", name}, {"summary", entry.summary}, {"example", entry.example}});
  return {Interface::kKind, entries};
}

void list(const std::string& only, const std::string& format) {
  const std::vector<std::pair<std::string, Json>> kinds{
      plugins<RopeScheme>(), plugins<Quantizer>(), plugins<Rescaling>(),  plugins<Strategy>(),
      plugins<Metric>(),     plugins<Task>(),      plugins<Diagnostic>(), plugins<Family>()};
  const auto name_of = [](const auto& kind) { return kind.first; };
  if (!only.empty() && std::ranges::find(kinds, only, name_of) == kinds.end()) {
    std::vector<std::string> names;
    for (const auto& [kind, entries] : kinds) names.push_back(kind);
    fail("list: unknown kind '{}'; known: {}", only, fmt::join(names, ", "));
  }
  Json listed = Json::object();
  for (const auto& [kind, entries] : kinds) {
    if (only.empty() || kind == only) listed[kind] = entries;
  }
  if (format == "json") return fmt::print("{}\n", listed.dump(1));
  for (const auto& [kind, entries] : listed.items()) {
    fmt::print("{}\n", kind);
    for (const Json& entry : entries) {
      fmt::print("  {:<24}{}\n  {:<24}{}\n", entry["name"].get<std::string>(), entry["summary"].get<std::string>(), "",
                 entry["example"].get<std::string>());
    }
  }
}

/// Returns whether every planned cell has a row that is ok; where there is no plan, whether every row is.
bool show_results(const Results& results, ShowOptions options) {
  const SweepState state = sweep_state(results);
  options.planned = state.planned;
  const auto others = std::ranges::count_if(state.rows, [&](const Json& row) {
    return options.planned && !options.planned->contains(row["id"].get<std::string>());
  });
  const bool is_table = options.format == "table";
  const bool only_begun = is_table && state.cells > 0 && state.done + state.failed == 0;
  if (only_begun && !(options.all && others > 0)) {
    fmt::print("{}{}", state.text, others == 0 ? "" : left_out_note(static_cast<std::size_t>(others)) + "\n");
    return state.is_finished();
  }
  fmt::print("{}", show(results, state.rows, options));
  if (is_table && !state.is_finished()) fmt::print("\n{}", state.text);
  return state.is_finished() &&
         (options.planned || std::ranges::all_of(state.rows, [](const Json& row) { return row["status"] == "ok"; }));
}

/// Returns why a text is no number of hours, which CLI11's checks let nan be; empty where it is one.
std::string number_of_hours(const std::string& text) {
  double hours = 0;
  const bool is_one = read_number(std::string_view(text), hours) == std::errc() && hours > 0 && std::isfinite(hours);
  return is_one ? "" : "give a number of hours above 0, not " + text;
}

/// Reads "K/N" with 1 <= K <= N.
void read_shard(const std::string& text, RunOptions& options) {
  const auto slash = text.find('/');
  const auto number = [&](std::string_view part) {
    int64_t value = 0;
    return read_number(part, value) == std::errc() ? value : 0;
  };
  if (slash != std::string::npos) {
    options.shard = number(std::string_view(text).substr(0, slash));
    options.shards = number(std::string_view(text).substr(slash + 1));
  }
  if (slash == std::string::npos || options.shard < 1 || options.shards < options.shard) {
    fail("--shard {}: write K/N with 1 <= K <= N, such as 2/8", text);
  }
}

int run_command(int argc, char** argv) {
  CLI::App app{"qroar: RoPE interpolation and fake quantization of Llama models, swept and measured"};
  app.set_version_flag("--version", "qroar " + build_commit());
  app.require_subcommand(1);
  RunOptions run;
  ShowOptions show_options;
  std::string shard = "1/1", devices, folder, kind, list_format = "table";
  std::vector<std::string> files, overrides;

  // An empty variable of a script is not what leaves the option out.
  const CLI::Validator not_empty([](const std::string& text) { return text.empty() ? "is empty" : ""; }, "", "");

  auto* run_verb = app.add_subcommand("run", "run the cells of an experiment that are not finished");
  run_verb->add_option("FILE", run.file, "experiment (YAML)")->required();
  run_verb->add_option("--set", run.overrides, "key=value on top of the file, such as windows.length=4096")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run_verb->add_option("--results", run.results, "results folder (default: results/<experiment>)")->check(not_empty);
  run_verb->add_option("--shard", shard, "K/N: this process takes the Kth of N parts of about equal work");
  run_verb->add_option("--only", run.only, "run the cells with these ids (or their beginnings): ID,ID...")
      ->delimiter(',')
      ->allow_extra_args(false);
  run_verb->add_option("--devices", devices, "one process per device: all GPUs (all), or names such as cuda:0,cuda:1")
      ->check(not_empty);
  run_verb->add_flag("--rerun", run.rerun, "also run finished cells again");

  auto* check_verb = app.add_subcommand(
      "check", "validate every job of experiments: open models, read texts and questions, say what it will take");
  check_verb->add_option("FILE", files, "experiments (YAML)")->required();
  check_verb->add_option("--set", overrides, "key=value on top of the files")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  check_verb
      ->add_option("--results", run.results, "results folder, whose finished cells cost nothing (default: as of run)")
      ->check(not_empty);

  auto* list_verb = app.add_subcommand("list", "list plugins with examples");
  list_verb->add_option("KIND", kind,
                        "rope scheme, quantizer, rescaling, search strategy, metric, task, diagnostic or model family");
  list_verb->add_option("--format", list_format, "table or json")->check(CLI::IsMember({"table", "json"}));

  auto* show_verb = app.add_subcommand("show", "print the results of a folder");
  show_verb->add_option("RESULTS_DIR", folder, "results folder")->required();
  show_verb->add_option("--format", show_options.format, fmt::format("{}", fmt::join(kShowFormats, ", ")))
      ->check(CLI::IsMember(kShowFormats));
  auto* baseline = show_verb
                       ->add_option("--baseline", show_options.baseline,
                                    "row to compare with in pairs: an id, or AXIS=LABEL such as quant=none")
                       ->check(not_empty);
  show_verb
      ->add_option("--interaction", show_options.interaction,
                   "difference of differences of two axes: AXIS,AXIS or AXIS=LABEL,AXIS=LABEL, such as rope,quant")
      ->check(not_empty)
      ->excludes(baseline);
  show_verb->add_flag("--draws", show_options.draws, "show every rounding draw, not the mean over them");
  show_verb->add_flag("--all", show_options.all, "also show, marked, the rows of cells that the plan no longer has");

  auto* collect_verb = app.add_subcommand(
      "collect", "rebuild rows.jsonl from the cells and print them; exit code 1 where one failed or has no row");
  collect_verb->add_option("RESULTS_DIR", folder, "results folder")->required();

  PackOptions packed;
  std::filesystem::path into;
  auto* pack_verb = app.add_subcommand(
      "pack", "put an experiment, this program and lists of unfinished cells into a folder, for a batch scheduler");
  pack_verb->add_option("FILE", packed.run.file, "experiment (YAML)")->required();
  pack_verb->add_option("--into", into, "folder to make")->required();
  auto* tasks = pack_verb->add_option("--tasks", packed.run.shards, "at most so many lists of about equal work")
                    ->check(CLI::Range(1, 100000));
  pack_verb->add_option("--hours", packed.hours, "so many lists that each takes about as long, by the last rows' speed")
      ->check(number_of_hours)
      ->excludes(tasks);
  pack_verb->add_option("--device", packed.device, "kind of device for --hours: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  pack_verb->add_option("--results", packed.run.results, "results folder (default: results/<experiment>)")
      ->check(not_empty);
  pack_verb->add_option("--set", packed.run.overrides, "key=value on top of the file")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);

  app.failure_message(
      [](const CLI::App*, const CLI::Error& error) { return fmt::format("{}; see --help\n", visible(error.what())); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  if (*run_verb) {
    read_shard(shard, run);
    install_stop_handlers();
    if (!devices.empty()) return run_workers(run, worker_devices(devices));
    return run_experiment(run) ? 0 : 1;
  }
  if (*check_verb) return check_files(files, overrides, run.results) ? 0 : 1;
  if (*list_verb) list(kind, list_format);
  if (*pack_verb) {
    if (const auto file = pack_submission(packed, into)) fmt::print("{}\n", file->string());
    return 0;
  }
  const Results results(folder);
  if (*show_verb) show_results(results, show_options);
  if (*collect_verb) {
    results.derive_rows_file();
    return show_results(results, {}) ? 0 : 1;
  }
  return 0;
}

/// Runs the command; an exception becomes a line on stderr.
int status_of(int argc, char** argv) {
  try {
    const int status = run_command(argc, argv);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail("cannot write to stdout: {}", std::strerror(errno));
    return status;
  } catch (const Stopped& stopped) {
    fmt::print(stderr, "{}\n", stopped.what());
    return Stopped::kExitCode;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "{}\n", in_one_line(error));
    return 1;
  } catch (const std::system_error& error) {
    if (std::string_view(error.what()).starts_with("cannot write to file"))  // thrown by fmt::print
      fmt::print(stderr, "cannot write to stdout: {}\n", error.code().message());
    else
      fmt::print(stderr, "the system refuses a thread or another resource: {}; see ulimit -a\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "internal error: {}\n", visible(error.what()));
    return 2;
  }
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  qroar::open_closed_descriptors();
  std::signal(SIGXFSZ, SIG_IGN);  // so that a write beyond the limit of file sizes fails, with a line
  spdlog::set_default_logger(spdlog::stderr_color_mt("qroar"));
  const std::string worker = qroar::worker_name();
  spdlog::set_formatter(qroar::log_format("%H:%M:%S %^%l%$ " + (worker.empty() ? "" : worker + " ") + "%*"));
  qroar::let_log_fail();
  const int status = qroar::status_of(argc, argv);
  std::fflush(stdout);  // of what was printed before an error
  std::_Exit(status);   // at its end libtorch takes all operators apart, a third of a short command's time
}
