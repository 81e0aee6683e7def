// Claims whose owners are gone, silent, or only asleep.
#include "base/files.h"
#include "results/claims.h"
#include "support/catch.h"
#include "support/claims.h"

using namespace qroar;
using namespace std::chrono_literals;

TEST_CASE("a dead process' cell is taken over at once under the next number, and both claims go in the end") {
  const ClaimsFolder folder;
  folder.put("x.1", machine_id(), dead_process());
  folder.put("x.2", machine_id(), dead_process());
  Claims claims(folder.path());
  auto claim = claims.take("x");
  REQUIRE(claim != nullptr);
  CHECK(claim->is_held());
  CHECK(folder.names() == Names{"x.1", "x.2", "x.3"});
  CHECK(Claims(folder.path()).take("x") == nullptr);
  claim.reset();
  CHECK(folder.names().empty());
}

TEST_CASE("of many who find the same process dead one takes its cell over") {
  for (int round = 0; round < 20; ++round) {
    const ClaimsFolder folder;
    folder.put("x.1", machine_id(), dead_process());
    const auto all_tried = folder.path() / "all_tried";
    std::vector<pid_t> processes;
    for (int i = 0; i < 8; ++i) {
      processes.push_back(start_process([&] {
        Claims claims(folder.path());
        const auto claim = claims.take("x");
        std::ofstream(folder.path() / fmt::format("tried{}", i)).close();
        while (claim != nullptr && !std::filesystem::exists(all_tried)) std::this_thread::yield();
        return claim == nullptr ? 0 : 1;
      }));
    }
    for (int i = 0; i < 8; ++i)
      while (!std::filesystem::exists(folder.path() / fmt::format("tried{}", i))) std::this_thread::yield();
    std::ofstream(all_tried).close();
    int taken = 0;
    for (const pid_t process : processes) taken += status_of(process);
    CHECK(taken == 1);
    CHECK(folder.names().empty());
  }
}

TEST_CASE("a process of this machine that lives keeps its cell however long it is silent") {
  const ClaimsFolder folder;
  const Sleeper owner;
  ::kill(owner.pid(), SIGSTOP);
  folder.put("x.1", machine_id(), owner.name());
  Claims claims(folder.path(), Claims::kBeat, -1ms);  // any silence is too long
  CHECK(claims.take("x") == nullptr);
  CHECK(claims.take("x") == nullptr);
  owner.kill();
  CHECK(take_in_time(claims, "x") != nullptr);
}

TEST_CASE("an owner on another machine keeps its cell while its beats change, and loses it once they do not") {
  const ClaimsFolder folder;
  folder.put("x.1", "another machine", "1 1");
  const auto silence = 50ms;
  Claims claims(folder.path(), Claims::kBeat, silence);
  CHECK(claims.take("x") == nullptr);
  const auto start = std::chrono::steady_clock::now();
  auto beaten = start;
  for (int count = 1; beaten - start < 4 * silence; ++count) {
    beaten = std::chrono::steady_clock::now();
    folder.beat("x.1", count);
    REQUIRE(claims.take("x") == nullptr);  // however long this loop was asleep
  }
  const auto claim = take_in_time(claims, "x");
  REQUIRE(claim != nullptr);
  CHECK(std::chrono::steady_clock::now() - beaten > silence);
  CHECK(folder.names() == Names{"x.1", "x.2"});
}

TEST_CASE("an owner that was taken over learns of it, and takes nothing from who comes after") {
  const ClaimsFolder folder;
  Claims first(folder.path()), second(folder.path(), Claims::kBeat, 0ms);
  auto old = first.take("x");
  REQUIRE(old != nullptr);
  Json owner = Json::parse(read_file(folder.claims() / "x.1/owner.json"));
  owner["machine"] = "another machine";
  write_file_atomically(folder.claims() / "x.1/owner.json", owner.dump());
  auto taken = take_in_time(second, "x");
  REQUIRE(taken != nullptr);
  CHECK_FALSE(old->is_held());
  CHECK(taken->is_held());
  SECTION("while that one is at it") {
    old.reset();
    CHECK(taken->is_held());
    CHECK(folder.names() == Names{"x.2"});
    CHECK(Claims(folder.path()).take("x") == nullptr);
  }
  SECTION("when that one has given it back and a third has the same name") {
    taken.reset();
    CHECK(folder.names().empty());
    CHECK_FALSE(old->is_held());
    const auto third = second.take("x");
    REQUIRE(third != nullptr);
    CHECK(folder.names() == Names{"x.1"});
    CHECK_FALSE(old->is_held());
    old.reset();
    CHECK(third->is_held());
    CHECK(folder.names() == Names{"x.1"});
  }
}

TEST_CASE("tidy removes what dead processes left, and nothing of those that live or may live") {
  const ClaimsFolder folder;
  const Sleeper alive;
  const std::string dead = dead_process();
  folder.put("done.1", machine_id(), dead);
  folder.put("busy.1", machine_id(), alive.name());
  folder.put("elsewhere.1", "another machine", "1 1");
  const std::string living = "." + unique_name(), gone = "." + in_another_process(unique_name);
  std::filesystem::create_directories(folder.claims() / living);
  std::filesystem::create_directories(folder.claims() / gone);
  Names taken;
  Claims(folder.path()).tidy([&](const std::string& id) {
    taken.push_back(id);
    CHECK(Claims(folder.path()).take(id) == nullptr);
  });
  CHECK(taken == Names{"done"});
  CHECK(folder.names() == Names{living, "busy.1", "elsewhere.1"});
}

TEST_CASE("tidy of a folder without claims makes none") {
  const Scratch scratch;
  Claims(scratch.folder()).tidy([](const std::string& id) { FAIL(id); });
  CHECK(Claims(scratch.folder()).look().empty());
  CHECK(std::filesystem::is_empty(scratch.folder()));
}
