#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "base/hash.h"

namespace qroar {
namespace {

/// A mapped range that the signal handler searches for; a slot is free while its size is 0.
struct Range {
  std::atomic<uintptr_t> begin = 0;
  std::atomic<std::size_t> size = 0;
  std::atomic<bool> unreadable = false;  ///< a page of it was
};
constexpr std::size_t kMostRanges = 4096;
std::array<Range, kMostRanges> ranges;
std::mutex ranges_mutex;
struct sigaction previous_action = {};

/// Maps a page of zeros where a page of a mapped file cannot be read; passes any other SIGBUS to the previous handler.
void handle_sigbus(int signal, siginfo_t* info, void* context) {
  const auto place = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Range& range : ranges) {
    const uintptr_t begin = range.begin;
    if (place < begin || place >= begin + range.size) continue;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* start = static_cast<char*>(info->si_addr) - place % page;
    range.unreadable = true;
    if (::mmap(start, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) return;
  }
  if ((previous_action.sa_flags & SA_SIGINFO) != 0 && previous_action.sa_sigaction != nullptr)
    return previous_action.sa_sigaction(signal, info, context);
  std::signal(signal, SIG_DFL);  // the access is repeated and ends the process
}

/// Returns the slot of `ranges` that guards the bytes.
std::size_t guard(std::string_view bytes) {
  const std::lock_guard lock(ranges_mutex);
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = handle_sigbus;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    return ::sigaction(SIGBUS, &action, &previous_action) == 0;
  }();
  check(installed, "SIGBUS can be handled");
  for (std::size_t i = 0; i < kMostRanges; ++i) {
    if (ranges[i].size != 0) continue;
    ranges[i].unreadable = false;
    ranges[i].begin = reinterpret_cast<uintptr_t>(bytes.data());
    ranges[i].size = bytes.size();
    return i;
  }
  fail("more than {} weight files are open at once", kMostRanges);
}

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  const auto system_error = [&](const char* what) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    fail("{}: cannot {}: {}", path.string(), what, reason);
  };
  if (descriptor_ < 0) system_error("open");
  if (::fstat(descriptor_, &opened_) != 0) system_error("read its size");
  if (!S_ISREG(opened_.st_mode)) {
    ::close(descriptor_);
    fail("{}: is not a regular file", path.string());
  }
  seen_ = opened_;
  if (opened_.st_size == 0) return;
  const auto size = static_cast<std::size_t>(opened_.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor_, 0);
  if (data == MAP_FAILED) system_error("map into memory");
  bytes_ = {static_cast<const char*>(data), size};
  range_ = guard(bytes_);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    ranges[range_].size = 0;
    ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
  }
  ::close(descriptor_);
}

void MappedFile::check_unchanged() const {
  const bool unreadable = !bytes_.empty() && ranges[range_].unreadable;
  if (unreadable || !is_unchanged()) {
    fail("{}: changed while it was read; run again{}", path_.string(),
         unreadable ? " (a part of it could not be read: if nobody cut it off, see the system's log for a failing disk)"
                    : "");
  }
}

bool MappedFile::is_unchanged() const {
  struct stat now = {};
  if (::fstat(descriptor_, &now) != 0 || now.st_size != opened_.st_size || !same_time(now.st_mtim, opened_.st_mtim))
    return false;
  if (same_time(now.st_ctim, seen_.st_ctim)) return true;
  if (hash_.empty() || hash_bytes(bytes_) != hash_) return false;
  seen_ = now;
  return true;
}

const std::string& MappedFile::hash() const {
  if (hash_.empty()) hash_ = hash_bytes(bytes_);
  return hash_;
}

void read_ahead(const void* begin, std::size_t size) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = reinterpret_cast<uintptr_t>(begin) % page;
  auto* start = const_cast<char*>(static_cast<const char*>(begin) - before);
  ::madvise(start, before + size, MADV_WILLNEED);  // a hint: it may fail
}

}  // namespace qroar
