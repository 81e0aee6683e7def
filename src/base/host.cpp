#include "base/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <random>
#include <sstream>

#include "base/hash.h"
#include "base/regex.h"

namespace qroar {
namespace {

std::string first_word(const char* file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

/// Returns the start time of a process in clock ticks since boot, or empty when there is no such process; a zombie
/// counts as none.  Reads the first thread's file, since emulators such as qemu-user replace /proc/PID/stat for the
/// process itself alone, so that others would not recognize it.
std::string start_of(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/task/" + pid + "/stat");
  std::string text;
  std::getline(in, text);
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));  // after the program's name
  std::string state, field;
  fields >> state;
  for (int i = 4; i <= 22; ++i) fields >> field;  // proc(5): starttime is field 22
  return state == "Z" || state == "X" || !fields ? "" : field;
}

}  // namespace

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

const std::string& machine_id() {
  static const std::string id = [] {
    std::error_code none;
    return hash_bytes(fmt::format("{} {} {}", host_name(), first_word("/proc/sys/kernel/random/boot_id"),
                                  std::filesystem::read_symlink("/proc/self/ns/pid", none).string()))
        .substr(0, 16);
  }();
  return id;
}

std::string this_process() {
  const std::string pid = std::to_string(::getpid());
  return pid + " " + start_of(pid);
}

bool is_process_running(const std::string& process) {
  const auto space = process.find(' ');
  const std::string pid = process.substr(0, space), start = start_of(pid);
  return space != process.npos && !start.empty() && start == process.substr(space + 1);
}

std::string random_name() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

std::string unique_name() {
  std::string process = this_process();
  std::ranges::replace(process, ' ', '-');
  return fmt::format("{}-{}-{}", machine_id(), process, random_name());
}

bool is_stale_temporary(const std::filesystem::path& path) {
  static const Regex form(R"((?s)\..*?([0-9a-f]{16})-([0-9]+)-([0-9]+)-[0-9a-f]{32}.*)");
  const std::vector<std::string> parts = form.groups_of(path.filename());
  if (parts.empty()) return false;
  if (parts[0] == machine_id()) return !is_process_running(parts[1] + " " + parts[2]);
  std::error_code none;
  const auto written = std::filesystem::last_write_time(path, none);
  return !none && std::filesystem::file_time_type::clock::now() - written > std::chrono::hours(24);
}

void remove_stale_temporaries(const std::filesystem::path& folder, bool below) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (is_stale_temporary(entry.path()))
      std::filesystem::remove_all(entry.path(), ignored);
    else if (below && !entry.is_symlink(ignored) && entry.is_directory(ignored))
      remove_stale_temporaries(entry.path(), true);
  }
}

std::string utc_now() {
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const std::time_t seconds = milliseconds / 1000;
  char second[32] = {};
  std::strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", std::gmtime(&seconds));
  return fmt::format("{}.{:03}Z", second, milliseconds % 1000);
}

}  // namespace qroar
