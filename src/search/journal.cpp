#include "search/journal.h"

#include "base/stop.h"

namespace qroar {
namespace {

std::string key_of(const Json& kind, const Json& point) { return kind.dump() + point.dump(); }

}  // namespace

Journal::Journal(const std::filesystem::path& file, std::function<void()> check)
    : check_(std::move(check)), log_(file, file.parent_path().filename().string()) {
  for (const Json& line : log_.lines())
    entries_.emplace(key_of(value_at(line, "/kind"), value_at(line, "/point")), line);
}

std::optional<Json> Journal::find(const std::string& kind, const std::vector<double>& point) const {
  const auto found = entries_.find(key_of(kind, point));
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

void Journal::add(const std::string& kind, const std::vector<double>& point, Json entry) {
  check_();
  entry["kind"] = kind;
  entry["point"] = point;
  log_.append(entry);
  entries_.emplace(key_of(kind, point), std::move(entry));
  throw_if_stop_requested();
}

}  // namespace qroar
