// The memory that control groups leave to this process.
#pragma once
#include <cstdint>
#include <filesystem>

namespace qroar {

/// Returns the bytes that this process's cgroup and those around it still allow (v2, then v1; Slurm and containers nest
/// them), or the largest number where none has a limit.  The cache of files, which the kernel drops when it needs the
/// memory, counts as free.  `membership` and `root` are files of cgroups(7).
int64_t cgroup_headroom(const std::filesystem::path& membership = "/proc/self/cgroup",
                        const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace qroar
