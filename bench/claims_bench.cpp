// What sharing a folder costs a cell: microseconds to look at all claims, take one, ask whether it is still held and
// give it back, in a folder where 8 other processes have a claim each.  Means over 64 cells, of several rounds the
// median. usage: claims_bench FOLDER, on the file system in question; CSV to stdout.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "results/claims.h"
#include "support/fork.h"

namespace qroar {
namespace {

constexpr int kOthers = 8, kCells = 64, kRounds = 11;

/// A process that has the cell until it is killed.
pid_t start_other(const std::filesystem::path& folder, int number) {
  pid_t pid = 0;
  std::unique_ptr<Claim> claim;
  in_another_process(
      [&] {
        claim = Claims(folder).take(fmt::format("other{}", number));
        return std::string(claim ? "taken" : "not taken");
      },
      &pid);
  return pid;
}

double microseconds_per_cell(const std::filesystem::path& folder) {
  Claims claims(folder);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCells; ++i) {
    check(claims.look().size() == kOthers, "the others' claims");
    const auto claim = claims.take(fmt::format("{:016x}", i));
    check(claim != nullptr && claim->is_held(), "a claim");
  }
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / kCells;
}

void bench(const std::filesystem::path& folder) {
  std::vector<pid_t> others;
  for (int i = 0; i < kOthers; ++i) others.push_back(start_other(folder, i));
  std::vector<double> rounds;
  for (int i = 0; i < kRounds; ++i) rounds.push_back(microseconds_per_cell(folder));
  for (const pid_t pid : others) {
    ::kill(pid, SIGKILL);
    status_of(pid);
  }
  std::ranges::sort(rounds);
  fmt::print("us per cell,least,most\n{:.0f},{:.0f},{:.0f}\n", rounds[kRounds / 2], rounds.front(), rounds.back());
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: claims_bench FOLDER\n");
    return 1;
  }
  qroar::bench(argv[1]);
}
