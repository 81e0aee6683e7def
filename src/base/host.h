// Which machine and process this is, in terms that another process can check, and names that no other makes.
#pragma once
#include <filesystem>
#include <string>

namespace qroar {

std::string host_name();

/// Of the running system and the process numbers in it, as 16 hexadecimal digits: equal only where the other process'
/// number means the same.
const std::string& machine_id();

/// Process number and start time, since numbers come again.
std::string this_process();
/// Whether a process of this machine, as this_process() named it, is still there.
bool process_lives(const std::string& process);

/// 32 hexadecimal digits.
std::string random_name();

/// A word that no other process makes and that names this one, for names of temporary files and folders.
std::string own_name();
/// Whether a temporary file's or folder's name, ".*" with own_name() in it, is that of a process of this machine that
/// is gone, or of one elsewhere that made it a day ago.
bool is_left_by_dead(const std::filesystem::path& path);
/// Removes such files from a folder, and from those below it if so asked.
void remove_left_by_dead(const std::filesystem::path& folder, bool below = false);

/// "2026-11-26T13:02:11.042Z".
std::string utc_now();

}  // namespace qroar
