// Claims on cells, among processes of this machine and, as their files look, of others.
#include "harness/claims.h"

#include <fcntl.h>

#include "base/files.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/fork.h"
#include "support/scratch.h"
#include "support/size_limit.h"

using namespace qroar;
using namespace std::chrono_literals;

namespace {

class Folder {
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
std::unique_ptr<Claim> take_in_time(Claims& claims, const std::string& id) {
  const auto end = std::chrono::steady_clock::now() + 10s;
  std::unique_ptr<Claim> claim;
  while (claim == nullptr && std::chrono::steady_clock::now() < end) claim = claims.take(id);
  return claim;
}

}  // namespace

TEST_CASE("a cell is one's who takes it until that gives it back, and then nothing is left") {
  const Folder folder;
  Claims first(folder.path()), second(folder.path());
  auto claim = first.take("x");
  REQUIRE(claim != nullptr);
  CHECK(claim->is_held());
  CHECK(second.take("x") == nullptr);
  CHECK(first.take("x") == nullptr);
  CHECK(second.take("y") != nullptr);  // and at once given back
  CHECK(folder.names() == Names{"x.1"});
  claim.reset();
  CHECK(folder.names().empty());
  CHECK(second.take("x") != nullptr);
}

TEST_CASE("who looks on sees the owner and how far it is") {
  const Folder folder;
  Claims claims(folder.path(), 1ms);
  const auto claim = claims.take("a.b");  // an id with a dot
  claim->tell(0.5);
  Claims onlooker(folder.path());
  const auto end = std::chrono::steady_clock::now() + 10s;
  Json seen = Json::object();
  while (seen.value("done", 0.0) != 0.5 && std::chrono::steady_clock::now() < end) seen = onlooker.look().at("a.b");
  CHECK(seen["done"] == 0.5);
  CHECK(seen["dead"] == false);
  CHECK(seen["pid"] == ::getpid());
  CHECK(seen["host"] == host_name());
  folder.put("y.3", machine_id(), dead_process());
  CHECK(onlooker.look()["y"]["dead"] == true);
  CHECK(onlooker.look().size() == 2);
}

TEST_CASE("a dead process' cell is taken over at once under the next number, and both claims go in the end") {
  const Folder folder;
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
    const Folder folder;
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
  const Folder folder;
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
  const Folder folder;
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
  const Folder folder;
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

TEST_CASE("eight processes that take and give back many cells never have one at the same time") {
  const Folder folder;
  constexpr int kCells = 12, kTurns = 60;
  std::vector<pid_t> processes;
  for (int i = 0; i < 8; ++i) {
    processes.push_back(start_process([&] {
      Claims claims(folder.path(), 1ms);
      for (int taken = 0, k = i; taken < kTurns; ++k) {
        const std::string id = fmt::format("cell{}", k * 7 % kCells);
        const auto claim = claims.take(id);
        if (claim == nullptr) continue;
        ++taken;
        const auto inside = folder.path() / id;  // there while somebody has the cell
        const int file = ::open(inside.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (file < 0 || !claim->is_held()) return 1;
        ::close(file);
        std::this_thread::yield();
        ::unlink(inside.c_str());
      }
      return 0;
    }));
  }
  for (const pid_t process : processes) CHECK(status_of(process) == 0);
  CHECK(folder.names().empty());
}

TEST_CASE("tidy removes what dead processes left, and nothing of those that live or may live") {
  const Folder folder;
  const Sleeper alive;
  const std::string dead = dead_process();
  folder.put("done.1", machine_id(), dead);
  folder.put("busy.1", machine_id(), alive.name());
  folder.put("elsewhere.1", "another machine", "1 1");
  const std::string living = "." + own_name(), gone = "." + in_another_process(own_name);
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

TEST_CASE("a claim that cannot be written is an Error and leaves nothing") {
  const Folder folder;
  Claims claims(folder.path());
  SECTION("a file where the folder should be") {
    std::ofstream(folder.claims()).close();
    CHECK(error_text([&] { claims.take("x"); }) ==
          folder.claims().string() + ": cannot create a folder there: Not a directory");
  }
  SECTION("a full disk") {
    std::string error;
    {
      const SizeLimit full(0);
      error = error_text([&] { claims.take("x"); });
    }
    CHECK(contains(error, folder.claims().string() + "/."));
    CHECK(contains(error, "owner.json: cannot write: File too large"));
    CHECK(folder.names().empty());
  }
  SECTION("a rename that fails") {
    CHECK(error_text([&] { claims.take("no/folder"); }) ==
          folder.claims().string() + "/no/folder.1: cannot rename to it: No such file or directory");
    CHECK(folder.names().empty());
  }
}

TEST_CASE("files that are no claims, or are damaged, hold no cell for good") {
  const Folder folder;
  std::filesystem::create_directories(folder.claims() / "x");
  std::filesystem::create_directories(folder.claims() / "x.1.tmp");
  std::ofstream(folder.claims() / "notes.txt") << "hello";
  folder.put("y.1", "another machine", "1 1");
  std::ofstream(folder.claims() / "y.1/owner.json") << "{\"tok";
  Claims claims(folder.path(), Claims::kBeat, 20ms);
  CHECK(claims.take("x") != nullptr);
  CHECK(claims.take("y") == nullptr);  // it may be on its way
  CHECK(claims.look().empty());
  CHECK(take_in_time(claims, "y") != nullptr);
}
