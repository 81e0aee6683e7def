#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/host.h"
#include "base/utf8.h"

namespace qroar {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

[[noreturn]] void fail_errno(const std::filesystem::path& path, const char* what) {
  fail("{}: cannot {}: {}", path.string(), what, std::generic_category().message(errno));
}

/// An open file descriptor, closed by the destructor.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags, const char* what) : fd_(::open(path.c_str(), flags, 0666)) {
    if (fd_ < 0) fail_errno(path, what);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  /// Returns whether closing succeeded; writers check it, as some file systems report a full disk only here.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

/// Passes the file to `consume` block by block.  Opening does not wait for the writer of a FIFO, which is refused like
/// all that has no content of its own: a device may have no end.
template <class Consume>
void read_blocks(const std::filesystem::path& path, const Consume& consume) {
  const Descriptor file(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, "open");
  struct stat kind = {};
  if (::fstat(file.get(), &kind) != 0) fail_errno(path, "read");
  if (!S_ISREG(kind.st_mode) && !S_ISDIR(kind.st_mode))
    fail("{}: is a pipe or a device, not a regular file; write what it gives to a file first", path.string());
  // No longer than a short file, since filling a whole block costs more than reading a row; files of /proc have size 0.
  const auto size = static_cast<std::size_t>(std::max<off_t>(kind.st_size, 4095));
  std::vector<char> block(std::min(kBlockBytes, size + 1));
  while (true) {
    const ssize_t count = ::read(file.get(), block.data(), block.size());
    if (count == 0) return;
    if (count > 0) {
      consume(std::string_view(block.data(), static_cast<std::size_t>(count)));
    } else if (errno != EINTR) {
      fail_errno(path, "read");
    }
  }
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      fail_errno(path, "write");
    }
  }
}

/// Returns a new name in the folder of `path` that is unique even if processes on several machines write there.
std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  return path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), unique_name());
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

/// Replaces a folder that need not be empty; rename() itself replaces only an empty one.
void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  if (errno != ENOTEMPTY && errno != EEXIST) fail_errno(to, "replace");
  const std::filesystem::path old = temporary_beside(to);
  if (::rename(to.c_str(), old.c_str()) != 0) fail_errno(to, "move aside");
  if (::rename(from.c_str(), to.c_str()) != 0) {
    const int reason = errno;
    ::rename(old.c_str(), to.c_str());
    errno = reason;
    fail_errno(to, "replace");
  }
  std::filesystem::remove_all(old);
}

/// Syncs the folder, so that the rename survives a crash.
void sync_folder(const std::filesystem::path& folder) {
  const Descriptor directory(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, "open");
  // Some network file systems return EINVAL because they have nothing to sync for a folder.
  if (::fsync(directory.get()) != 0 && errno != EINVAL) fail_errno(folder, "sync");
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string in_one_line(const std::filesystem::filesystem_error& error) {
  return fmt::format("{}: {}", visible(error.path1().string()), error.code().message());
}

std::string read_file(const std::filesystem::path& path) {
  std::string bytes;
  read_blocks(path, [&](std::string_view block) { bytes += block; });
  return bytes;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  write_file_atomically(path, [&](const PutBytes& put) { put(bytes); });
}

void write_file_atomically(const std::filesystem::path& path, const std::function<void(const PutBytes&)>& produce) {
  const std::filesystem::path temporary = temporary_beside(path);
  Descriptor file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, "create");
  try {
    produce([&](std::string_view bytes) { write_all(file.get(), bytes, path); });
    if (::fsync(file.get()) != 0 || !file.close()) fail_errno(path, "write");
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_errno(path, "replace");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(folder_of(path));
}

void write_folder_atomically(const std::filesystem::path& folder,
                             const std::function<void(const std::filesystem::path&)>& fill) {
  std::filesystem::create_directories(folder_of(folder));
  remove_stale_temporaries(folder_of(folder));  // what killed processes left of earlier tries
  const std::filesystem::path temporary = temporary_beside(folder);
  if (::mkdir(temporary.c_str(), 0777) != 0) fail_errno(temporary, "create");
  try {
    fill(temporary);
    sync_folder(temporary);
    replace_folder(temporary, folder);
  } catch (...) {
    std::error_code leftover;
    std::filesystem::remove_all(temporary, leftover);
    throw;
  }
  sync_folder(folder_of(folder));
}

void check_no_link(const std::filesystem::path& folder) {
  std::error_code unreadable;
  if (std::filesystem::is_symlink(std::filesystem::symlink_status(folder, unreadable)))
    fail("{}: is a link, and nothing is written or deleted through one; remove it", folder.string());
}

std::string hash_file(const std::filesystem::path& path) {
  Hasher hasher;
  read_blocks(path, [&](std::string_view block) { hasher.add(block); });
  return hasher.digest();
}

std::filesystem::path cache_folder() {
  if (const std::string own = variable("QROAR_CACHE"); !own.empty()) return own;
  if (const std::string user = variable("XDG_CACHE_HOME"); !user.empty()) return std::filesystem::path(user) / "qroar";
  if (const std::string home = variable("HOME"); !home.empty()) return std::filesystem::path(home) / ".cache" / "qroar";
  fail("no folder for the cache: none of QROAR_CACHE, XDG_CACHE_HOME and HOME is set; set QROAR_CACHE");
}

}  // namespace qroar
