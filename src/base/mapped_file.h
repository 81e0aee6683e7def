// A file mapped read-only into memory that detects changes by other processes.
#pragma once
#include <sys/stat.h>

#include <filesystem>
#include <string_view>

namespace qroar {

/// What cannot be read while it is mapped, since the file is truncated or its disk fails, reads as zeros (the kernel
/// would end the process with SIGBUS), and check_unchanged() throws from then on.
class MappedFile {
 public:
  /// Throws an Error where the file cannot be opened or is not a regular file; an empty file has no bytes.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return bytes_; }
  /// Throws an Error unless all bytes that were read are those of the file that was opened.  Compares the size and the
  /// modification time; if only the status change time differs (e.g. after a change of permissions or links), hashes
  /// all bytes.
  void check_unchanged() const;
  /// Returns the XXH3 hash of all bytes, the same as hash_file(); computed once.
  const std::string& hash() const;

 private:
  bool is_unchanged() const;

  std::filesystem::path path_;
  int descriptor_;
  std::string_view bytes_;
  std::size_t range_ = 0;  ///< the slot that guards the bytes
  struct stat opened_ = {};
  mutable struct stat seen_ = {};  ///< the newest status for which the bytes were unchanged
  mutable std::string hash_;
};

/// Tells the system that mapped bytes are about to be read, so that it reads them beside what the process computes.
void read_ahead(const void* begin, std::size_t size);

}  // namespace qroar
