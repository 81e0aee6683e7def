// Files: reading, atomic writing, hashing, and the location of the cache.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace qroar {

/// Returns the path and the reason of an error of the standard library's file functions.
std::string in_one_line(const std::filesystem::filesystem_error& error);

/// Returns the contents of a file.  Throws an Error with the path and the reason where it cannot be read,
/// and for a pipe or a device.
std::string read_file(const std::filesystem::path& path);

/// Writes to a temporary file in the same folder, syncs it, renames it to `path` and syncs the folder: readers see the
/// old file or the new one.  Throws an Error with the path and the reason (disk full, read-only ...) and leaves no
/// temporary file behind.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// The same for contents that are never held in memory at once: `produce` passes each part to its argument.
using PutBytes = std::function<void(std::string_view)>;
void write_file_atomically(const std::filesystem::path& path, const std::function<void(const PutBytes&)>& produce);

/// Calls `fill` with a new folder beside `folder` (parent folders are created) and then renames it to `folder`.  An
/// existing folder is first moved aside and afterwards removed, so that a reader sees the old files, for a moment none,
/// or the new ones.  When an exception is thrown, the existing folder stays and nothing else is left behind.
void write_folder_atomically(const std::filesystem::path& folder,
                             const std::function<void(const std::filesystem::path&)>& fill);

/// Throws an Error where a folder in which files are going to be written or deleted is a symbolic link: a results
/// folder may come from others, and its links lead anywhere.
void check_no_link(const std::filesystem::path& folder);

/// Returns the hash of a file's contents; see base/hash.h.
std::string hash_file(const std::filesystem::path& path);

/// Returns $QROAR_CACHE, else $XDG_CACHE_HOME/qroar, else ~/.cache/qroar.
std::filesystem::path cache_folder();

}  // namespace qroar
