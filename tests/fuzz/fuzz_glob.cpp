// A glob and, behind the byte 0x01, a name: against an implementation by tables.
#include "fuzz.h"
#include "model/site.h"

namespace qroar {
namespace {

/// Whether a glob without braces matches, by the table of which prefixes of the name its prefixes match.
bool matches(std::string_view glob, std::string_view name) {
  std::vector<bool> reached(name.size() + 1);
  reached[0] = true;
  for (const char c : glob) {
    std::vector<bool> next(name.size() + 1);
    for (std::size_t i = 0; i <= name.size(); ++i) {
      if (c == '*')
        next[i] = reached[i] || (i > 0 && next[i - 1]);
      else
        next[i] = i > 0 && reached[i - 1] && (c == '?' || c == name[i - 1]);
    }
    reached = next;
  }
  return reached.back();
}

}  // namespace

void fuzz_one(std::string_view input) {
  const auto parts = parts_of(input.substr(0, 400), 2);
  const std::string &glob = parts[0], &name = parts[1];
  const bool found = glob_matches(glob, name);
  if (glob.find_first_of("{}") == glob.npos) must(found == matches(glob, name), glob + " and " + name);
  must(!glob_matches(glob, name + "!") || glob.find_first_of("*?!{") != glob.npos, "the whole name counts");
  must(glob_matches("{" + glob + ",*}", name), "an alternative that matches everything");
  if (found) must(glob_matches("*" + glob + "*", "x" + name + "y"), "a match within");
}

}  // namespace qroar
