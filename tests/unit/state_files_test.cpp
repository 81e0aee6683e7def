// State files that were damaged or edited: each is named, or counts as not there, and stops nothing else.
#include <sys/stat.h>

#include "base/files.h"
#include "base/line_log.h"
#include "results/partial.h"
#include "results/results.h"
#include "support/catch.h"
#include "support/claims.h"
#include "support/errors.h"
#include "support/mutations.h"

namespace qroar {
namespace {

TEST_CASE("a plan with anything at any place is read, or named with what to do") {
  const Scratch scratch;
  const Results results(scratch.folder());
  results.write_plan("/x/e.yaml", {{"a", {{"rope", "none"}}, 1e9}});
  const Json whole = read_json_object(scratch.folder() / "plan.json");
  int named = 0;
  for (const auto& [what, plan] : mutations_of(whole)) {
    INFO(what);
    scratch.write("plan.json", plan.dump());
    const std::string error = error_text([&] { results.plan(); });
    if (error == "(no error)") continue;
    ++named;
    CHECK(contains(error, (scratch.folder() / "plan.json").string() + ":"));
    CHECK(contains(error, "delete it, and `qroar run` writes it again"));
    CHECK(error_text([&] { results.write_plan("/x/e.yaml", {{"a", {{"rope", "none"}}, 1e9}}); }) == "(no error)");
    CHECK(read_json_object(scratch.folder() / "plan.json") == whole);
  }
  CHECK(named > 20);
}

TEST_CASE("a plan's cells lie in the folder") {
  const Scratch scratch;
  for (const char* id : {"../../x", "..", ".", "", "a/b", "/x"}) {
    CAPTURE(id);
    scratch.write("plan.json",
                  Json{{"experiment", "e"}, {"cells", {{{"id", id}, {"axes", Json::object()}, {"flops", 1}}}}}.dump());
    CHECK(contains(error_text([&] { Results(scratch.folder()).plan(); }), "names no folder in cells"));
  }
}

TEST_CASE("a claim with anything at any place belongs to its owner, or to nobody after the silence") {
  for (const char* name : {"owner.json", "beat.json"}) {
    const ClaimsFolder folder;
    folder.put("x.1", machine_id(), dead_process());
    const auto file = folder.claims() / "x.1" / name;
    for (const auto& [what, said] : mutations_of(read_json_object(file))) {
      INFO(name << what);
      folder.put("x.1", machine_id(), dead_process());
      write_file_atomically(file, said.dump());
      using namespace std::chrono_literals;
      Claims claims(folder.path(), 10ms, 1ms);
      claims.look();
      CHECK(take_in_time(claims, "x") != nullptr);
    }
  }
}

TEST_CASE("a line with anything at any place is left out, and the others stay") {
  const Scratch scratch;
  const auto file = scratch.folder() / "log.jsonl";
  LineLog log(file, "own");
  for (int part = 0; part < 3; ++part)
    log.append({{"part", fmt::format("window/{}", part)}, {"seconds", 0.5}, {"result", {{"nll", {1, 2.5}}}}});
  const std::string whole = read_file(file);
  const std::size_t first = whole.find('\n') + 1, second = whole.find('\n', first) + 1;
  const Json line = parse_json_object(whole.substr(first, second - first), {"line"});
  for (const auto& [what, changed] : mutations_of(line)) {
    if (changed == line) continue;
    INFO(what);
    write_file_atomically(file, whole.substr(0, first) + changed.dump() + "\n" + whole.substr(second));
    const LineLog read(file, "own");
    REQUIRE(read.lines().size() == 2);
    CHECK(read.lines()[1]["part"] == "window/2");
  }
  CHECK(LineLog(file, "another").lines().empty());
}

TEST_CASE("parts are kept for equal inputs alone, and a disk that refuses them is no error") {
  const Scratch scratch;
  const auto nothing = [] {};
  {
    PartialCell partial(scratch.folder(), {{"model", "m"}}, false, nothing);
    partial.start_clock();
    partial.add("window/0", {{"nll", 1.5}});
  }
  CHECK(PartialCell(scratch.folder(), {{"model", "m"}}, false, nothing).found() == 1);
  CHECK(PartialCell(scratch.folder(), {{"model", "other"}}, false, nothing).found() == 0);
  std::filesystem::remove(scratch.folder() / "partial.jsonl");
  const Scratch outside;
  std::filesystem::create_symlink(outside.write("target", ""), scratch.folder() / "partial.jsonl");
  PartialCell partial(scratch.folder(), {{"model", "m"}}, false, nothing);
  partial.start_clock();
  partial.add("window/0", {{"nll", 2.5}});
  CHECK(partial.find("window/0")->at("nll") == 2.5);
  CHECK(read_file(outside.folder() / "target").empty());
}

TEST_CASE("a part that a process with other inputs adds to a file that it has lost is not gone on with") {
  const Scratch scratch;
  const auto nothing = [] {};
  const Json own{{"model", "m"}}, others{{"model", "other"}};
  PartialCell sleeps(scratch.folder(), others, false, nothing);
  PartialCell(scratch.folder(), own, false, nothing).add("window/0", {{"nll", 1.5}}, 1);
  sleeps.add("window/1", {{"nll", 9.5}}, 1);
  const PartialCell again(scratch.folder(), own, false, nothing);
  CHECK(again.found() == 1);
  CHECK(again.find("window/1") == nullptr);
}

TEST_CASE("nothing is written or deleted through a link in a results folder") {
  const Scratch outside, scratch;
  const auto kept = outside.write("kept.csv", "a,b\n");
  const Results results(scratch.folder());
  for (const char* link : {"cells/a", "cells/a/diagnostics", "cells/a/metrics", "cells/a/tasks", "claims"}) {
    INFO(link);
    std::filesystem::remove_all(scratch.folder() / "cells");
    std::filesystem::create_directories((scratch.folder() / link).parent_path());
    std::filesystem::create_directory_symlink(outside.folder(), scratch.folder() / link);
    const std::string error = error_text([&] {
      results.make_cell_folder("a");
      Claims(scratch.folder()).take("a");
    });
    CHECK(contains(error, (scratch.folder() / link).string() + ": is a link"));
    remove_stale_temporaries(scratch.folder() / "cells/a", /*below=*/true);
    std::filesystem::remove(scratch.folder() / link);
    CHECK(std::filesystem::exists(kept));
  }
}

TEST_CASE("a pipe or a device is one line, and does not block") {
  const Scratch scratch;
  const auto fifo = scratch.folder() / "f";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  for (const std::filesystem::path& path : {fifo, std::filesystem::path("/dev/zero")}) {
    CHECK(contains(error_text([&] { read_file(path); }), path.string() + ": is a pipe or a device"));
    CHECK(contains(error_text([&] { hash_file(path); }), path.string() + ": is a pipe or a device"));
  }
}

}  // namespace
}  // namespace qroar
