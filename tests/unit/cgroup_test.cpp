// The memory that nested control groups leave, from trees of their files as the kernel writes them.
#include "base/cgroup.h"

#include <limits>

#include "support/catch.h"
#include "support/scratch.h"

using namespace qroar;

namespace {

constexpr int64_t kMiB = 1 << 20, kNone = std::numeric_limits<int64_t>::max();

std::string bytes(int64_t mebibytes) { return std::to_string(mebibytes * kMiB) + "\n"; }

}  // namespace

TEST_CASE("the tightest of the process's group and those around it counts") {
  const Scratch scratch;
  const auto membership = scratch.write("cgroup", "0::/slurm/job_7/step_0\n");
  const auto left = [&] { return cgroup_headroom(membership, scratch.folder()); };
  CHECK(left() == kNone);  // no file of any group is there
  scratch.write("slurm/job_7/step_0/memory.max", "max\n");
  scratch.write("slurm/job_7/step_0/memory.current", bytes(100));
  CHECK(left() == kNone);
  scratch.write("slurm/job_7/memory.max", bytes(4096));
  scratch.write("slurm/job_7/memory.current", bytes(1024));
  CHECK(left() == 3072 * kMiB);
  scratch.write("slurm/memory.max", bytes(8192));
  scratch.write("slurm/memory.current", bytes(8000));
  CHECK(left() == 192 * kMiB);
  scratch.write("memory.max", bytes(50));
  scratch.write("memory.current", bytes(60));
  CHECK(left() == 0);
  scratch.write("slurm/other/memory.max", bytes(1));  // of no group around it
  scratch.write("slurm/other/memory.current", bytes(1));
  scratch.write("memory.max", "max\n");
  CHECK(left() == 192 * kMiB);
}

TEST_CASE("the cache of files counts as free, since the kernel drops it") {
  const Scratch scratch;
  const auto membership = scratch.write("cgroup", "0::/a\n");
  scratch.write("a/memory.max", bytes(1000));
  scratch.write("a/memory.current", bytes(900));
  scratch.write("a/memory.stat", "anon 1\ninactive_file " + bytes(500) + "active_file " + bytes(100) + "shmem 7\n");
  CHECK(cgroup_headroom(membership, scratch.folder()) == 700 * kMiB);
  scratch.write("a/memory.stat", "inactive_file " + bytes(2000));  // read a moment later than its sum
  CHECK(cgroup_headroom(membership, scratch.folder()) == 1000 * kMiB);
}

TEST_CASE("version 1 has its own folder and names, and both may be there") {
  const Scratch scratch;
  const auto membership = scratch.write("cgroup", "9:name=systemd:/\n4:cpu,memory:/job\n2:cpuacct:/tight\n0::/\n");
  scratch.write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  scratch.write("memory/memory.usage_in_bytes", bytes(10));
  scratch.write("memory/tight/memory.limit_in_bytes", bytes(1));
  scratch.write("memory/tight/memory.usage_in_bytes", bytes(1));
  scratch.write("memory/job/memory.limit_in_bytes", bytes(300));
  scratch.write("memory/job/memory.usage_in_bytes", bytes(200));
  scratch.write("memory/job/memory.stat", "inactive_file 5\ntotal_inactive_file " + bytes(50));
  CHECK(cgroup_headroom(membership, scratch.folder()) == 150 * kMiB);
}

TEST_CASE("a group outside of the namespace, or one that the mount does not show, leaves those that are there") {
  const Scratch scratch;
  scratch.write("memory.max", bytes(64));
  scratch.write("memory.current", bytes(4));
  for (const char* line : {"0::/../other\n", "0::/docker/1234\n", "0::/\n"})
    CHECK(cgroup_headroom(scratch.write("cgroup", line), scratch.folder()) == 60 * kMiB);
  CHECK(cgroup_headroom(scratch.write("cgroup", "nonsense\n:\n"), scratch.folder()) == kNone);
  CHECK(cgroup_headroom(scratch.folder() / "missing", scratch.folder()) == kNone);
}
