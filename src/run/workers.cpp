#include "run/workers.h"

#include <fcntl.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/stop.h"
#include "ops/device.h"
#include "run/submission.h"

extern char** environ;

namespace qroar {
namespace {

constexpr const char* kWorker = "QROAR_WORKER";
constexpr std::chrono::milliseconds kPoll{100};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

/// Returns the name in CUDA_VISIBLE_DEVICES of the GPU that this process knows by a number: the list may already be a
/// selection.
std::string visible_name(int64_t number) {
  const char* selection = std::getenv("CUDA_VISIBLE_DEVICES");
  return selection == nullptr ? std::to_string(number) : split(selection).at(static_cast<std::size_t>(number));
}

std::vector<std::string> arguments_of(const RunOptions& options) {
  std::vector<std::string> words{"qroar", "run", options.file, "--results", results_folder(options)};
  for (const std::string& text : options.overrides) words.insert(words.end(), {"--set", text});
  for (const std::string& id : options.only) words.insert(words.end(), {"--only", id});
  if (options.shards > 1) words.insert(words.end(), {"--shard", fmt::format("{}/{}", options.shard, options.shards)});
  if (options.rerun) words.emplace_back("--rerun");
  return words;
}

std::vector<std::string> environment_of(const std::string& device, std::size_t workers) {
  const std::string visible = device == "cpu" ? "" : visible_name(std::stoll(device.substr(device.find(':') + 1)));
  std::vector<std::string> variables{fmt::format("{}={}", kWorker, device), "CUDA_VISIBLE_DEVICES=" + visible};
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    const std::size_t cores = std::max<std::size_t>(1, std::thread::hardware_concurrency() / workers);
    variables.push_back(fmt::format("OMP_NUM_THREADS={}", cores));
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::strncmp(*variable, "CUDA_VISIBLE_DEVICES=", 21) != 0) variables.emplace_back(*variable);
  }
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

/// Starts a worker, whose table is not printed.
pid_t start(std::vector<std::string> arguments, std::vector<std::string> environment) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  const sigset_t signals = stop_signals();  // one that comes while LibTorch is loaded waits for install_stop_handlers()
  posix_spawnattr_setsigmask(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t process = 0;
  const int failed = posix_spawn(&process, "/proc/self/exe", &actions, &attributes, pointers(arguments).data(),
                                 pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) fail("cannot start a worker: {}", std::strerror(failed));
  return process;
}

struct Worker {
  std::string device;
  pid_t process;
};

/// Lets the system keep how children end: a supervisor that ignores SIGCHLD hands that on, and then nobody can ask.
void keep_exit_codes() { std::signal(SIGCHLD, SIG_DFL); }

/// Returns the exit code of a worker that waitpid() says has ended: 1 where a signal ended it, or nobody knows what
/// did.
int exit_code(const Worker& worker, pid_t said, int status) {
  if (said < 0) {
    spdlog::error("the worker on {} (process {}): how it ended cannot be known: {}", worker.device, worker.process,
                  std::strerror(errno));
    return 1;
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  spdlog::error("the worker on {} (process {}) was ended by signal {} ({}); its cell goes to another", worker.device,
                worker.process, WTERMSIG(status), strsignal(WTERMSIG(status)));
  return 1;
}

}  // namespace

std::string worker_name() {
  const char* name = std::getenv(kWorker);
  return name == nullptr ? "" : name;
}

std::vector<std::string> worker_devices(const std::string& devices) {
  std::vector<std::string> names = split(devices);
  if (devices == "all") {
    names.clear();
    for (int64_t number = 0; number < ops::cuda_device_count(); ++number)
      names.push_back(fmt::format("cuda:{}", number));
    if (names.empty()) fail("--devices all: no GPU is there; leave the option out, or write --devices cpu");
  }
  if (names.empty()) fail("--devices: write all, or names such as cuda:0,cuda:1");
  for (const std::string& name : names) {
    if (name != "cpu" && !name.starts_with("cuda:"))
      fail("--devices {}: '{}' is neither cpu nor cuda:N", devices, name);
    ops::parse_device(name);
  }
  return names;
}

int run_workers(const RunOptions& options, const std::vector<std::string>& devices) {
  const std::vector<Job> jobs = parse_experiment(options.file, options.overrides);  // reports its errors only once
  Results(results_folder(options)).check_owner(original_of(options.file));
  keep_exit_codes();
  std::vector<Worker> running;
  for (const std::string& device : devices) {
    running.push_back({device, start(arguments_of(options), environment_of(device, devices.size()))});
  }
  int code = 0;
  bool told = false;
  while (!running.empty()) {
    std::erase_if(running, [&](const Worker& worker) {
      int status = 0;
      const pid_t said = ::waitpid(worker.process, &status, WNOHANG);
      if (said == 0) return false;
      code = std::max(code, exit_code(worker, said, status));
      return true;
    });
    if (stop_requested() && !std::exchange(told, true)) {
      for (const Worker& worker : running) ::kill(worker.process, SIGTERM);
    }
    std::this_thread::sleep_for(kPoll);
  }
  const Results results(results_folder(options));
  if (code <= 1) print_rows(results, results.rows(), jobs);
  return code;
}

}  // namespace qroar
