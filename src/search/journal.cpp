#include "search/journal.h"

#include <spdlog/spdlog.h>

#include "base/hash.h"
#include "base/stop.h"

namespace qroar {
namespace {

std::string key_of(const std::string& kind, const std::vector<double>& point) { return kind + Json(point).dump(); }

/// Returns the hash of a line whose own hash is null, which is valid only in the journal of this search.
std::string hash_of(const Json& line, const std::string& search) { return hash_bytes(search + line.dump()); }

}  // namespace

Journal::Journal(const std::filesystem::path& file)
    : search_(file.parent_path().filename().string()), log_(file, [](const std::string&) {}) {
  std::size_t broken = 0, first = 0;
  for (std::size_t i = 0; i < log_.lines().size(); ++i) {
    Json line = log_.lines()[i];
    const Json hash = line.is_object() ? std::exchange(line["hash"], nullptr) : nullptr;
    if (hash == hash_of(line, search_)) {
      entries_.emplace(key_of(line["kind"], line["point"]), line);
    } else if (++broken == 1) {
      first = i + 1;
    }
  }
  if (broken > 0) {
    spdlog::warn("{}:{}: {} of {} lines are not as a search wrote them; their results are computed again",
                 file.string(), first, broken, log_.lines().size());
  }
}

std::optional<Json> Journal::find(const std::string& kind, const std::vector<double>& point) const {
  const auto found = entries_.find(key_of(kind, point));
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

void Journal::add(const std::string& kind, const std::vector<double>& point, Json entry) {
  entry["kind"] = kind;
  entry["point"] = point;
  entry["hash"] = nullptr;
  entry["hash"] = hash_of(entry, search_);
  log_.append(entry);
  entries_.emplace(key_of(kind, point), std::move(entry));
  throw_if_stop_requested();
}

}  // namespace qroar
