// Files: whole reads, writes that are all or nothing, hashes of contents, and where caches lie.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace qroar {

/// The whole file; an Error with the path and the reason.
std::string read_file(const std::filesystem::path& path);

/// Writes to a temporary file beside `path`, fsyncs, renames, fsyncs the folder: readers see the old file or the new
/// one.  An Error with the path and the reason (disk full, read-only ...) leaves no temporary file behind.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// The same for contents in parts, so that they never lie in memory as a whole: `produce` hands each to its argument.
using PutBytes = std::function<void(std::string_view)>;
void write_file_atomically(const std::filesystem::path& path, const std::function<void(const PutBytes&)>& produce);

/// `fill` writes into a new folder beside `folder` (the folders above are made), which then takes its name, and the
/// place of an older one; that one is moved aside first and then removed, so that a reader sees the old files, for a
/// moment none, or the new ones.  When something is thrown, the older folder stays and nothing else is left behind.
void write_folder_atomically(const std::filesystem::path& folder,
                             const std::function<void(const std::filesystem::path&)>& fill);

/// See base/hash.h.
std::string hash_file(const std::filesystem::path& path);

/// $QROAR_CACHE, else $XDG_CACHE_HOME/qroar, else ~/.cache/qroar.
std::filesystem::path cache_folder();

}  // namespace qroar
