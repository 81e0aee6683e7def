// The journal of a search.  The lines of an input that begins with { get their hashes; any other is as it is.
#include "sealed.h"
#include "search/journal.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const std::string lines(input);
  const auto file = scratch().write("search/journal.jsonl", input.starts_with('{') ? sealed(lines, "search") : lines);
  {
    Journal journal(file);
    if (!journal.find("dev", {1, 2})) journal.add("dev", {1, 2}, {{"loss", 1.25}});
  }
  const Journal again(file);
  const auto found = again.find("dev", {1, 2});
  must(found.has_value(), "a line that was added is found");
  must(!again.find("dev", {1, 3.25e-7}) || lines.find("3.25") != lines.npos, "a point that was never scored");
}

}  // namespace qroar
