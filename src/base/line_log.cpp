#include "base/line_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace qroar {

LineLog::LineLog(std::filesystem::path file, const std::function<void(const std::string&)>& broken)
    : file_(std::move(file)) {
  std::filesystem::create_directories(file_.parent_path());
  if (!std::filesystem::exists(file_)) return;
  const std::string text = read_file(file_);
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; begin = end + 1, end = text.find('\n', begin)) {
    auto line = nlohmann::ordered_json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                              text.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                                              /*allow_exceptions=*/false);
    const bool is_object = line.is_object();
    if (!is_object) broken(fmt::format("{}:{}: no JSON object", file_.string(), lines_.size() + 1));
    lines_.push_back(is_object ? std::move(line) : nullptr);
  }
  if (begin < text.size()) write_file_atomically(file_, text.substr(0, begin));
}

void LineLog::append(const nlohmann::ordered_json& line) {
  const std::string text = line.dump() + "\n";
  const int handle = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  const ssize_t count = handle >= 0 ? ::write(handle, text.data(), text.size()) : -1;
  const bool written = count == static_cast<ssize_t>(text.size());
  const int error = count < 0 ? errno : ENOSPC;  // a disk that fills up accepts only a part of the line
  if (handle >= 0) ::close(handle);
  if (!written) fail("{}: cannot write: {}", file_.string(), std::strerror(error));
}

}  // namespace qroar
