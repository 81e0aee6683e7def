// A claim on a cell as another process may have left it: the folder's name, owner.json and beat.json, cut at 0x01.
#include <algorithm>

#include "fuzz.h"
#include "results/claims.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  auto parts = parts_of(input, 3);
  std::ranges::replace_if(
      parts[0], [](char c) { return c == '/' || c == '\0'; }, '_');
  const std::string name = parts[0].substr(0, 60);
  if (name.empty() || name == "." || name == "..") return;
  const auto results = scratch().folder() / "results", folder = results / "claims";
  std::filesystem::remove_all(results);
  scratch().write("results/claims/" + name + "/owner.json", parts[1]);
  if (!parts[2].empty()) scratch().write("results/claims/" + name + "/beat.json", parts[2]);

  Claims claims(results);
  for (const auto& [id, claim] : claims.look()) {
    must(name.starts_with(id + ".") && claim.is_object(), id);
    must(claim.contains("dead") && claim["dead"].is_boolean(), "look() says whether it is dead");
  }
  auto taken = claims.take("abcd");
  if (taken) {
    must(taken->is_held(), "a claim that was just taken is held");
    must(Claims(results).take("abcd") == nullptr, "a cell that is held is not taken");
    taken.reset();
  }
  claims.tidy([](const std::string&) {});
  for (const auto& [id, claim] : claims.look()) must(!claim["dead"].get<bool>(), "tidy() left a dead claim on " + id);
}

}  // namespace qroar
