// Which machine and process this is, in terms that another process can check, and names that no other makes.
#pragma once
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

/// "2026-11-26T13:02:11.042Z".
std::string utc_now();

}  // namespace qroar
