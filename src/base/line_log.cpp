#include "base/line_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

namespace qroar {

LineLog::LineLog(std::filesystem::path file, std::string owner) : file_(std::move(file)), owner_(std::move(owner)) {
  attempt([&] {
    std::filesystem::create_directories(file_.parent_path());
    if (std::filesystem::exists(file_)) read(read_file(file_));
  });
}

void LineLog::attempt(const std::function<void()>& writing) {
  if (is_given_up_) return;
  try {
    writing();
  } catch (const std::exception& error) {
    is_given_up_ = true;
    spdlog::warn("{}; the work goes on, and would begin anew if it were stopped", error.what());
  }
}

void LineLog::clear() {
  lines_.clear();
  attempt([&] { std::filesystem::remove(file_); });
}

/// The hash of a line whose own "hash" is null.
std::string LineLog::hash_of(const Json& line) const { return hash_bytes(owner_ + line.dump()); }

void LineLog::read(const std::string& text) {
  std::size_t begin = 0, number = 0, broken = 0, first = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; begin = end + 1, end = text.find('\n', begin)) {
    ++number;
    try {
      Json line = parse_json_object(std::string_view(text).substr(begin, end - begin), {file_.string()});
      const Json hash = line.contains("hash") ? std::exchange(line["hash"], nullptr) : Json();
      if (hash != Json(hash_of(line))) fail("another hash");
      line.erase("hash");
      lines_.push_back(std::move(line));
    } catch (const Error&) {
      if (++broken == 1) first = number;
    }
  }
  if (broken > 0) {
    spdlog::warn("{}:{}: {} of {} lines are not as they were written; what they held is computed again", file_.string(),
                 first, broken, number);
  }
  if (begin < text.size()) write_file_atomically(file_, std::string_view(text).substr(0, begin));
}

void LineLog::append(Json line) {
  line["hash"] = nullptr;
  line["hash"] = hash_of(line);
  attempt([&] {
    const std::string text = line.dump() + "\n";
    const int handle = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    const ssize_t count = handle >= 0 ? ::write(handle, text.data(), text.size()) : -1;
    int error = count < 0 ? errno : count < std::ssize(text) ? ENOSPC : 0;  // a disk that fills up takes a part of it
    if (handle >= 0 && ::close(handle) != 0 && error == 0) error = errno;
    if (error != 0) fail("{}: cannot write: {}", file_.string(), std::strerror(error));
  });
}

}  // namespace qroar
