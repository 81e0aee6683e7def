// Other processes, as tests need them: alive, gone, or doing something.
#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "base/error.h"
#include "base/host.h"

namespace qroar {

/// Starts a process that ends with what `body` returns, or with 99 when it throws.
template <class Body>
pid_t start_process(const Body& body) {
  const pid_t pid = fork();
  check(pid >= 0, "no fork");
  if (pid > 0) return pid;
  int status = 99;
  try {
    status = body();
  } catch (...) {
  }
  _exit(status);
}

/// The exit status of a process, or 100 and the signal that killed it.
inline int status_of(pid_t pid) {
  int status = 0;
  check(waitpid(pid, &status, 0) == pid, "no such child");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/// What `text_of` returns in a process that is gone by now, or with `pid` in one that then does nothing until it is
/// killed.
template <class TextOf>
std::string in_another_process(const TextOf& text_of, pid_t* pid = nullptr) {
  std::array<int, 2> pipe{};
  check(::pipe(pipe.data()) == 0, "no pipe");
  const pid_t child = start_process([&] {
    const std::string text = text_of();
    if (::write(pipe[1], text.data(), text.size()) < 0) return 1;
    ::close(pipe[1]);
    while (pid != nullptr) pause();
    return 0;
  });
  ::close(pipe[1]);
  std::array<char, 256> text{};
  const ssize_t size = ::read(pipe[0], text.data(), text.size());
  ::close(pipe[0]);
  check(size > 0, "a child without a word");
  if (pid != nullptr)
    *pid = child;
  else
    status_of(child);
  return {text.data(), static_cast<std::size_t>(size)};
}

/// A process that does nothing until it is destroyed.
class Sleeper {
 public:
  Sleeper() : name_(in_another_process(this_process, &pid_)) {}
  ~Sleeper() {
    kill();
    reap();
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  /// What this_process() is there.
  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  void kill() const {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
  }
  void reap() {
    if (pid_ > 0) status_of(pid_);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  std::string name_;
};

/// The name of a process that is gone.
inline std::string dead_process() { return in_another_process(this_process); }

}  // namespace qroar
