// Identifies this machine and process in a form that another process can check, and generates unique names.
#pragma once
#include <filesystem>
#include <string>

namespace qroar {

std::string host_name();

/// Returns 16 hexadecimal digits that identify the running system and its process number space: equal only for
/// processes that see the same process numbers.
const std::string& machine_id();

/// Returns the process number and start time of this process; numbers alone are reused.
std::string this_process();
/// Returns whether a process of this machine, as named by this_process(), is still running.
bool is_process_running(const std::string& process);

/// Returns 32 random hexadecimal digits.
std::string random_name();

/// Returns a unique word that identifies this process, for the names of temporary files and folders.
std::string unique_name();
/// Returns whether a temporary file or folder, named ".*" with unique_name() in it, belongs to a process of this
/// machine that has ended, or was made a day ago by a process of another machine.
bool is_stale_temporary(const std::filesystem::path& path);
/// Removes such files from a folder, and from its subfolders where `below` is true.
void remove_stale_temporaries(const std::filesystem::path& folder, bool below = false);

/// Returns the current time as "2026-11-26T13:02:11.042Z".
std::string utc_now();

}  // namespace qroar
