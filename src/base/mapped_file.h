// A file mapped into memory, read-only, that notices when another process changes it meanwhile.
#pragma once
#include <sys/stat.h>

#include <filesystem>
#include <string_view>

namespace qroar {

/// Where the file is cut short while it is mapped, what is missing reads as zeros (the kernel would end the process
/// with SIGBUS), and is_unchanged() is false from then on.
class MappedFile {
 public:
  /// An Error where it cannot be opened or is no regular file; an empty one has no bytes.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return bytes_; }
  /// Have the bytes stayed what they were when the file was opened?  By size and time of the last change; a time that
  /// says less (of permissions, links) is followed by a look at all bytes.
  bool is_unchanged() const;
  /// XXH3 of all bytes, the same as hash_file(); made once.
  const std::string& hash() const;

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::string_view bytes_;
  struct stat opened_ = {};
  mutable struct stat seen_ = {};  ///< the newest for which the bytes were found unchanged
  mutable std::string hash_;
};

}  // namespace qroar
