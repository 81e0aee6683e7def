#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace qroar {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

/// The names of one version's files.
struct Version {
  const char *limit, *use, *inactive_cache, *active_cache;
};
constexpr Version kSecond{"memory.max", "memory.current", "inactive_file", "active_file"};
constexpr Version kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"};

/// Returns the bytes of files that the kernel can drop.
int64_t cache_bytes(const std::filesystem::path& folder, const Version& version) {
  std::ifstream in(folder / "memory.stat");
  int64_t sum = 0, value = 0;
  for (std::string key; in >> key >> value;) {
    if (key == version.inactive_cache || key == version.active_cache) sum += value;
  }
  return sum;
}

/// Returns what one group allows; no limit where its files have none ("max") or are not there.
int64_t headroom_of(const std::filesystem::path& folder, const Version& version) {
  int64_t limit = 0, use = 0;
  if (!(std::ifstream(folder / version.limit) >> limit) || !(std::ifstream(folder / version.use) >> use))
    return kNoLimit;
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, use - cache_bytes(folder, version)));
}

/// Returns the least of a group and of those around it.  A container may see only the root of its own path.
int64_t headroom_up(const std::filesystem::path& root, const std::filesystem::path& group, const Version& version) {
  int64_t least = headroom_of(root, version);
  std::filesystem::path folder = root;
  for (const auto& part : group.relative_path()) {
    if (part == "..") return least;  // a group outside of the namespace, whose files are not there
    folder /= part;
    least = std::min(least, headroom_of(folder, version));
  }
  return least;
}

}  // namespace

int64_t cgroup_headroom(const std::filesystem::path& membership, const std::filesystem::path& root) {
  std::ifstream in(membership);
  int64_t least = kNoLimit;
  for (std::string line; std::getline(in, line);) {  // "0::/a/b" of v2, "4:cpu,memory:/a/b" of v1
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",",
                      group = line.substr(second + 1);
    if (controllers == ",,") least = std::min(least, headroom_up(root, group, kSecond));
    if (controllers.find(",memory,") != controllers.npos)
      least = std::min(least, headroom_up(root / "memory", group, kFirst));
  }
  return least;
}

}  // namespace qroar
