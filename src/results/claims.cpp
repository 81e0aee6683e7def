#include "results/claims.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/number.h"
#include "base/stall.h"

namespace qroar {
namespace {

/// Returns what a file of a claim says.  Claims may appear and disappear at any time: a missing or incomplete file, and
/// one with other values than take() and write_beat() put there, says nothing.
Json said_in(const std::filesystem::path& file) {
  Json said = try_read_json_object(file).value_or(Json::object());
  for (const auto& [key, value] : said.items()) {
    const bool is_number = key == "pid" || key == "beat" || key == "done";
    if (is_number ? !value.is_number() : !value.is_string()) return Json::object();
  }
  return said;
}

bool is_owner(const std::filesystem::path& claim, const std::string& token) {
  return value_at(said_in(claim / "owner.json"), "/token") == Json(token);
}

std::filesystem::path folder_of(const std::filesystem::path& claims, const std::string& id, int64_t number) {
  return claims / fmt::format("{}.{}", id, number);
}

/// Returns the id and number of a claim's folder, or nothing for another name.
std::optional<std::pair<std::string, int64_t>> parse_name(const std::string& name) {
  const auto dot = name.rfind('.');
  if (dot == name.npos || dot == 0) return std::nullopt;
  int64_t number = 0;
  if (read_number(std::string_view(name).substr(dot + 1), number) != std::errc()) return std::nullopt;
  return std::pair(name.substr(0, dot), number);
}

/// Writes without a sync: a machine that crashes has lost its claims anyway.
void write_quickly(const std::filesystem::path& file, const std::string& text) {
  const std::filesystem::path temporary = file.string() + ".tmp";
  std::ofstream out(temporary);
  out << text;
  out.close();
  if (!out || ::rename(temporary.c_str(), file.c_str()) != 0)
    fail("{}: cannot write: {}", file.string(), std::strerror(errno));
}

void write_beat(const std::filesystem::path& claim, int64_t count, double done) {
  write_quickly(claim / "beat.json", Json{{"beat", count}, {"done", done}}.dump() + "\n");
}

}  // namespace

Claim::Claim(std::filesystem::path claims, std::string id, int64_t number, std::string token,
             std::chrono::milliseconds interval)
    : claims_(std::move(claims)),
      id_(std::move(id)),
      number_(number),
      token_(std::move(token)),
      interval_(interval),
      beats_([this] { beat_until_destroyed(); }) {}

Claim::~Claim() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  end_.notify_one();
  beats_.join();
  // After a takeover, this name may already belong to another process.
  if (!is_owner(folder_of(claims_, id_, number_), token_)) return;
  // Renames each claim before removing it, since a folder that is being emptied is no claim any more but still has its
  // name. The own claim comes last: while it exists, no process makes one with its number or a lower one.  The next
  // process finds whatever cannot be removed to be dead.
  std::error_code ignored;
  for (int64_t number = 1; number <= number_; ++number) {
    const auto gone = claims_ / fmt::format(".{}.{}", token_, number);
    std::filesystem::rename(folder_of(claims_, id_, number), gone, ignored);
    std::filesystem::remove_all(gone, ignored);  // whatever the server answered to the rename
  }
}

bool Claim::is_held() const {
  return is_owner(folder_of(claims_, id_, number_), token_) &&
         !std::filesystem::exists(folder_of(claims_, id_, number_ + 1));
}

void Claim::beat_until_destroyed() {
  StallWatch watch(interval_);
  std::unique_lock lock(mutex_);
  for (int64_t count = 1; !end_.wait_for(lock, interval_, [&] { return ends_; }); ++count) {
    if (watch.stalls(processor_seconds())) {
      spdlog::warn(
          "cell {}: nothing was computed for {} s, as when a network file system stalls; it goes on by itself, and "
          "a killed run loses the part that it was at and nothing else",
          id_, StallWatch::kWait.count());
    }
    try {
      write_beat(folder_of(claims_, id_, number_), count, done_);
    } catch (const Error&) {
      // A full disk, or a claim that was taken over: writing the cell itself will report it.
    }
  }
}

Claims::Claims(const std::filesystem::path& results, std::chrono::milliseconds beat, std::chrono::milliseconds silence)
    : folder_(results / "claims"), beat_(beat), silence_(silence) {
  check_no_link(folder_);
}

std::map<std::string, int64_t> Claims::newest() const {
  std::map<std::string, int64_t> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, none)) {
    const auto name = parse_name(entry.path().filename());
    if (name) found[name->first] = std::max(found[name->first], name->second);
  }
  return found;
}

Claims::Seen Claims::read(const std::string& id, int64_t number) const {
  const auto claim = folder_of(folder_, id, number);
  return {number, said_in(claim / "owner.json"), said_in(claim / "beat.json")};
}

bool Claims::is_dead(const std::string& id, const Seen& seen) {
  if (seen.owner.value("machine", "") == machine_id() && seen.owner.contains("process"))
    return !is_process_running(seen.owner["process"]);
  const std::string content = fmt::format("{} {} {}", seen.number, seen.owner.dump(), seen.beat.dump());
  const auto now = std::chrono::steady_clock::now();
  Watch& watch = watched_.try_emplace(id, Watch{content, now}).first->second;
  if (watch.content != content) watch = {content, now};
  return now - watch.since > silence_;
}

std::unique_ptr<Claim> Claims::take(const std::string& id) {
  const auto all = newest();
  const auto found = all.find(id);
  if (found != all.end() && !is_dead(id, read(id, found->second))) return nullptr;
  const int64_t number = found == all.end() ? 1 : found->second + 1;
  const std::string token = unique_name();
  const auto own = folder_ / ("." + token), claim = folder_of(folder_, id, number);
  std::error_code failed;
  std::filesystem::create_directories(own, failed);
  if (failed) fail("{}: cannot create a folder there: {}", folder_.string(), failed.message());
  try {
    const Json owner{{"token", token},          {"host", host_name()},       {"pid", ::getpid()},
                     {"machine", machine_id()}, {"process", this_process()}, {"since", utc_now()}};
    write_quickly(own / "owner.json", owner.dump() + "\n");
    write_beat(own, 0, 0);
    if (::rename(own.c_str(), claim.c_str()) == 0) {
      if (found != all.end()) watched_.erase(id);
      return std::make_unique<Claim>(folder_, id, number, token, beat_);
    }
    const int reason = errno;
    std::filesystem::remove_all(own);
    // A server that answers a repeated request may report failure for a rename that succeeded.
    if (is_owner(claim, token)) return std::make_unique<Claim>(folder_, id, number, token, beat_);
    if (reason != ENOTEMPTY && reason != EEXIST)
      fail("{}: cannot rename to it: {}", claim.string(), std::strerror(reason));
    return nullptr;
  } catch (...) {
    std::filesystem::remove_all(own, failed);
    throw;
  }
}

void Claims::tidy(const std::function<void(const std::string&)>& taken) {
  for (const auto& [id, number] : newest()) {
    if (!is_dead(id, read(id, number))) continue;
    if (const auto claim = take(id)) taken(id);  // its destructor releases the cell, with all older claims
  }
  remove_stale_temporaries(folder_);
}

std::map<std::string, Json> Claims::look() {
  std::map<std::string, Json> claims;
  for (const auto& [id, number] : newest()) {
    const Seen seen = read(id, number);
    // A crash of the owner's machine may leave an empty file.
    const bool tells = seen.owner.contains("host") && seen.owner.contains("pid") && seen.owner.contains("since");
    claims[id] = tells ? seen.owner : Json{{"host", "?"}, {"pid", 0}, {"since", ""}};
    claims[id]["done"] = tells ? seen.beat.value("done", 0.0) : 0.0;
    claims[id]["dead"] = is_dead(id, seen);
    std::error_code none;
    const auto beaten = std::filesystem::last_write_time(folder_of(folder_, id, number) / "beat.json", none);
    const std::chrono::duration<double> silent = std::filesystem::file_time_type::clock::now() - beaten;
    claims[id]["silent"] = none ? 0.0 : silent.count();
  }
  return claims;
}

}  // namespace qroar
