// Files: whole reads, writes that are all or nothing, content hashes, and where relative paths and caches lie.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace qroar {

/// The whole file; an Error with the path and the reason.
std::string read_file(const std::filesystem::path& path);

/// Writes to a temporary file beside `path`, fsyncs, renames, fsyncs the folder: readers see the old file or the new
/// one.  An Error with the path and the reason (disk full, read-only ...) leaves no temporary file behind.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// XXH3 128-bit as 32 hexadecimal digits, the same as `xxh128sum`; for identity, not for security.
std::string hash_bytes(std::string_view bytes);
std::string hash_file(const std::filesystem::path& path);

/// $QROAR_CACHE, else $XDG_CACHE_HOME/qroar, else ~/.cache/qroar.
std::filesystem::path cache_folder();

}  // namespace qroar
