// Processes and machines as others can check them; being asked to leave.
#include "base/host.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <set>
#include <thread>

#include "base/stop.h"
#include "support/catch.h"
#include "support/fork.h"
#include "support/scratch.h"

using namespace qroar;

TEST_CASE("this process lives, and so does a child until it is dead, reaped or not") {
  CHECK(is_process_running(this_process()));
  Sleeper child;
  CHECK(child.name() != this_process());
  CHECK(is_process_running(child.name()));
  ::kill(child.pid(), SIGSTOP);
  CHECK(is_process_running(child.name()));
  child.kill();
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT) == 0);
  CHECK_FALSE(is_process_running(child.name()));  // a zombie
  child.reap();
  CHECK_FALSE(is_process_running(child.name()));
}

TEST_CASE("a number that another process has by now does not live") {
  const std::string name = this_process(), pid = name.substr(0, name.find(' '));
  CHECK(pid == std::to_string(::getpid()));
  CHECK_FALSE(is_process_running(name + "1"));
  CHECK_FALSE(is_process_running(pid + " 1"));
  CHECK_FALSE(is_process_running(pid));
  CHECK_FALSE(is_process_running(pid + " "));
  CHECK_FALSE(is_process_running(""));
  CHECK_FALSE(is_process_running("no process"));
}

TEST_CASE("a program's name with spaces and parentheses hides nothing of its start time") {
  const std::string name = this_process();
  CHECK(status_of(start_process([&] {
          const std::string before = this_process();
          pthread_setname_np(pthread_self(), "a) Z 1 (b");
          return before == this_process() && is_process_running(before) && before != name ? 0 : 1;
        })) == 0);
}

TEST_CASE("a machine's id is the same in all its processes, and fit for a file's name") {
  const std::string id = machine_id();
  CHECK(id.size() == 16);
  CHECK(id.find_first_not_of("0123456789abcdef") == id.npos);
  CHECK(machine_id() == id);
  CHECK(status_of(start_process([&] { return machine_id() == id ? 0 : 1; })) == 0);
}

TEST_CASE("random names differ, also between a process and its fork") {
  std::set<std::string> names;
  for (int i = 0; i < 1000; ++i) names.insert(random_name());
  CHECK(names.size() == 1000);
  CHECK(names.begin()->size() == 32);
  CHECK(names.begin()->find_first_not_of("0123456789abcdef") == std::string::npos);
}

TEST_CASE("temporary files of dead processes are told from those of others, and removed") {
  const Scratch scratch;
  const std::string own = unique_name(), dead = in_another_process(unique_name);
  CHECK(own != unique_name());
  CHECK(own.find_first_of("./ ") == own.npos);
  const auto kept = scratch.write("cell/.row.json." + own + ".tmp", "");
  const auto gone = scratch.write("cell/.row.json." + dead + ".tmp", "");
  CHECK_FALSE(is_stale_temporary(kept));
  CHECK(is_stale_temporary(gone));
  CHECK(is_stale_temporary(scratch.folder() / ("." + dead)));
  CHECK(is_stale_temporary(scratch.folder() / ("." + dead + ".3")));
  CHECK_FALSE(is_stale_temporary(scratch.folder() / dead));  // not hidden
  CHECK_FALSE(is_stale_temporary(scratch.folder() / ".row.json.0123456789abcdef.tmp"));
  remove_stale_temporaries(scratch.folder());
  CHECK(std::filesystem::exists(gone));
  remove_stale_temporaries(scratch.folder(), /*below=*/true);
  CHECK_FALSE(std::filesystem::exists(gone));
  CHECK(std::filesystem::exists(kept));
  remove_stale_temporaries(scratch.folder() / "none");
}

TEST_CASE("temporary files of other machines are left alone for a day") {
  const Scratch scratch;
  const auto file = scratch.write(".x.0123456789abcdef-1-1-" + random_name() + ".tmp", "");
  CHECK_FALSE(is_stale_temporary(file));
  std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() - std::chrono::hours(25));
  CHECK(is_stale_temporary(file));
}

TEST_CASE("utc_now is a time to the millisecond that sorts as text") {
  std::string last;
  for (int i = 0; i < 1000; ++i) {
    const std::string now = utc_now();
    REQUIRE(now.size() == 24);
    for (std::size_t k = 0; k < now.size(); ++k) {
      const char form = "dddd-dd-ddTdd:dd:dd.dddZ"[k];
      REQUIRE((form == 'd' ? now[k] >= '0' && now[k] <= '9' : now[k] == form));
    }
    REQUIRE(now >= last);
    last = now;
  }
  CHECK(last.substr(0, 2) == "20");
}

TEST_CASE("SIGTERM and SIGUSR1, however often, are noted and end the work where it asks") {
  for (const auto& signals : {std::vector{SIGTERM}, {SIGUSR1}, {SIGTERM, SIGTERM, SIGUSR1}}) {
    const int status = status_of(start_process([&] {
      install_stop_handlers();
      throw_if_stop_requested();
      for (const int signal : signals) ::raise(signal);
      try {
        throw_if_stop_requested();
      } catch (const Stopped& stopped) {
        return std::string(stopped.what()).find("run the same command again") == std::string::npos ? 1 : 0;
      }
      return 2;
    }));
    CHECK(status == 0);
  }
}

TEST_CASE("the first SIGINT is noted and says what a second one does, which ends the process") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t process = start_process([&] {
    ::dup2(pipe[1], STDERR_FILENO);
    install_stop_handlers();
    ::raise(SIGINT);
    if (!stop_requested()) return 1;
    ::raise(SIGINT);
    return 2;
  });
  CHECK(status_of(process) == 100 + SIGINT);
  ::close(pipe[1]);
  std::array<char, 512> text{};
  const ssize_t size = ::read(pipe[0], text.data(), text.size());
  REQUIRE(size > 0);
  CHECK(std::string(text.data(), static_cast<std::size_t>(size)).find("interrupt again to stop at once") !=
        std::string::npos);
  ::close(pipe[0]);
}

TEST_CASE("a SIGINT that is ignored from the start, as behind nohup, stays so") {
  const int status = status_of(start_process([] {
    ::signal(SIGINT, SIG_IGN);
    install_stop_handlers();
    ::raise(SIGINT);
    return stop_requested() ? 1 : 0;
  }));
  CHECK(status == 0);
}

TEST_CASE("no file of ours takes the number of a closed descriptor") {
  const int status = status_of(start_process([] {
    for (const int descriptor : {0, 1, 2}) ::close(descriptor);
    open_closed_descriptors();
    const int next = ::open("/dev/null", O_RDONLY);
    const bool refused = ::write(STDOUT_FILENO, "x", 1) == -1, lost = ::write(STDERR_FILENO, "x", 1) == 1;
    return next > 2 && refused && lost ? 0 : 1;
  }));
  CHECK(status == 0);
}

TEST_CASE("a noted signal interrupts no read") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t reader = start_process([&] {
    install_stop_handlers();
    std::thread sender([&, main = pthread_self()] {
      pthread_kill(main, SIGTERM);
      if (::write(pipe[1], "x", 1) != 1) _exit(3);
    });
    char byte = 0;
    const bool read = ::read(pipe[0], &byte, 1) == 1 && byte == 'x';
    sender.join();
    return read ? 0 : 1;
  });
  CHECK(status_of(reader) == 0);
  ::close(pipe[0]);
  ::close(pipe[1]);
}
