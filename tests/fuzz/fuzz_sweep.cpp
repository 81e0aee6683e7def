// A sweep and the points that it expands to.
#include <set>

#include "config/sweep.h"
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const Config root = block_of(std::string(input));
  const std::vector<SweepPoint> points = expand(root);
  must(!points.empty(), "a point at least");
  must(root.has("sweep") || points.size() == 1, "one point without a sweep");
  std::set<std::string> seen;
  for (const auto& [config, axes, origin] : points) {
    must_be_one_line(origin);
    must(!config.has("sweep"), "a point has no sweep");
    must(seen.insert(config.json().dump()).second, "the same point twice");
    for (const auto& [path, value] : axes) {
      // The last axis is what no other overwrites.
      if (&axes.back().first == &path)
        must(config.with(path, block_of("{x: 1}").at("x")).json() != config.json() || value == 1, path);
    }
  }
}

}  // namespace qroar
