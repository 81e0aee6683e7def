// partial.jsonl of an unfinished cell.  The lines of an input that begins with { get their hashes; any other is as it
// is.
#include "base/files.h"
#include "results/partial.h"
#include "sealed.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const std::string lines(input);
  scratch().write("cell/partial.jsonl", input.starts_with('{') ? sealed("{\"inputs\":\"same\"}\n" + lines, "") : lines);
  const auto open = [] { return PartialCell(scratch().folder() / "cell", "same", /*restart=*/false, [] {}); };
  PartialCell cell = open();
  cell.start_clock();
  must(cell.seconds("window/") >= 0 || cell.found() > 0, "seconds");
  const std::string fresh = "window/" + std::to_string(cell.found()) + "/fresh";
  must(cell.find(fresh) == nullptr, fresh);
  cell.add(fresh, Json{{"nll", 1.5}});
  const PartialCell again = open();
  must(again.found() == cell.found() + 1, "a part that was added is found");
  must(again.find(fresh) != nullptr && *again.find(fresh) == Json{{"nll", 1.5}}, "its result");
}

}  // namespace qroar
