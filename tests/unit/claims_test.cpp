// Claims on cells among processes that live.
#include "results/claims.h"

#include <fcntl.h>

#include "support/catch.h"
#include "support/claims.h"
#include "support/errors.h"
#include "support/size_limit.h"

using namespace qroar;
using namespace std::chrono_literals;

TEST_CASE("a cell is one's who takes it until that gives it back, and then nothing is left") {
  const ClaimsFolder folder;
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
  const ClaimsFolder folder;
  Claims claims(folder.path(), 1ms);
  const auto claim = claims.take("a.b");  // an id with a dot
  claim->report(0.5);
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

TEST_CASE("eight processes that take and give back many cells never have one at the same time") {
  const ClaimsFolder folder;
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

TEST_CASE("a claim that cannot be written is an Error and leaves nothing") {
  const ClaimsFolder folder;
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
  const ClaimsFolder folder;
  std::filesystem::create_directories(folder.claims() / "x");
  std::filesystem::create_directories(folder.claims() / "x.1.tmp");
  std::ofstream(folder.claims() / "notes.txt") << "hello";
  folder.put("y.1", "another machine", "1 1");
  std::ofstream(folder.claims() / "y.1/owner.json") << "{\"tok";
  Claims claims(folder.path(), Claims::kBeat, 20ms);
  CHECK(claims.take("x") != nullptr);
  CHECK(claims.take("y") == nullptr);  // it may be on its way
  CHECK(claims.look().size() == 1);
  CHECK(claims.look()["y"]["dead"] == false);  // else whoever runs the cells would ask for it without a pause
  CHECK(claims.look()["y"]["host"] == "?");
  CHECK(take_in_time(claims, "y") != nullptr);
}
