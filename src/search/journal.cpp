#include "search/journal.h"

#include "base/error.h"
#include "base/stop.h"

namespace qroar {
namespace {

constexpr const char* kRemedy = "delete the file and search again";

std::string key_of(const std::string& kind, const std::vector<double>& point) { return kind + Json(point).dump(); }

}  // namespace

Journal::Journal(const std::filesystem::path& file) : log_(file, kRemedy) {
  for (const Json& line : log_.lines()) {
    if (!line.contains("kind") || !line.contains("point")) {
      fail("{}: a line that is no record of a search; {}", file.string(), kRemedy);
    }
    entries_.emplace(key_of(line["kind"], line["point"]), line);
  }
}

std::optional<Json> Journal::find(const std::string& kind, const std::vector<double>& point) const {
  const auto found = entries_.find(key_of(kind, point));
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

void Journal::add(const std::string& kind, const std::vector<double>& point, Json entry) {
  entry["kind"] = kind;
  entry["point"] = point;
  log_.append(entry);
  entries_.emplace(key_of(kind, point), std::move(entry));
  stop_if_asked();
}

}  // namespace qroar
