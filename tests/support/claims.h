// A results folder with claims as other processes would have left them.
#pragma once
#include <algorithm>

#include "results/claims.h"
#include "support/fork.h"
#include "support/scratch.h"

namespace qroar {

class ClaimsFolder {
 public:
  const std::filesystem::path& path() const { return scratch_.folder(); }
  std::filesystem::path claims() const { return path() / "claims"; }

  /// A claim as another process would have left it.
  void put(const std::string& name, const std::string& machine, const std::string& process) const {
    const Json owner{{"token", "another's"}, {"host", "h"},        {"pid", 1},
                     {"machine", machine},   {"process", process}, {"since", utc_now()}};
    scratch_.write("claims/" + name + "/owner.json", owner.dump());
    beat(name, 0);
  }
  void beat(const std::string& name, int count) const {
    scratch_.write("claims/" + name + "/beat.json", Json{{"beat", count}, {"done", 0.25}}.dump());
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(claims())) found.push_back(entry.path().filename());
    std::ranges::sort(found);
    return found;
  }

 private:
  Scratch scratch_;
};

using Names = std::vector<std::string>;

/// Tries until the cell is there, for at most ten seconds.
inline std::unique_ptr<Claim> take_in_time(Claims& claims, const std::string& id) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::unique_ptr<Claim> claim;
  while (claim == nullptr && std::chrono::steady_clock::now() < end) claim = claims.take(id);
  return claim;
}

}  // namespace qroar
