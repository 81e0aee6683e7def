#include "search/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace qroar {
namespace {

std::string key_of(const std::string& kind, const std::vector<double>& point) { return kind + Json(point).dump(); }

}  // namespace

Journal::Journal(const std::filesystem::path& file) : file_(file) {
  std::filesystem::create_directories(file.parent_path());
  if (!std::filesystem::exists(file)) return;
  const std::string text = read_file(file);
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; begin = end + 1, end = text.find('\n', begin)) {
    Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                            text.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                            /*allow_exceptions=*/false);
    if (line.is_discarded() || !line.contains("kind") || !line.contains("point")) {
      fail("{}: a line that is no record of a search; delete the file and search again", file.string());
    }
    entries_.emplace(key_of(line["kind"], line["point"]), std::move(line));
  }
  if (begin < text.size()) write_file_atomically(file, text.substr(0, begin));
}

std::optional<Json> Journal::find(const std::string& kind, const std::vector<double>& point) const {
  const auto found = entries_.find(key_of(kind, point));
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

void Journal::add(const std::string& kind, const std::vector<double>& point, Json entry) {
  entry["kind"] = kind;
  entry["point"] = point;
  const std::string line = entry.dump() + "\n";
  const int handle = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  const bool written = handle >= 0 && ::write(handle, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int error = errno;
  if (handle >= 0) ::close(handle);
  if (!written) fail("{}: cannot write: {}", file_.string(), std::strerror(error));
  entries_.emplace(key_of(kind, point), std::move(entry));
}

}  // namespace qroar
