#include "base/stop.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <initializer_list>

namespace qroar {
namespace {

volatile std::sig_atomic_t asked = 0;

/// Says at once what happens, since the work at hand may take a minute.
void interrupted(int) {
  asked = 1;
  constexpr char kText[] =
      "\ninterrupted: stopping once the window, question or layer at hand is done; "
      "interrupt again to stop at once, which loses that alone\n";
  const int saved = errno;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  errno = saved;
}

}  // namespace

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) sigaddset(&signals, signal);
  return signals;
}

void install_stop_handlers() {
  struct sigaction action = {};
  action.sa_handler = [](int) { asked = 1; };
  action.sa_flags = SA_RESTART;  // an interrupted read or write continues
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  struct sigaction interrupt = {}, before = {};
  interrupt.sa_handler = interrupted;
  interrupt.sa_flags = SA_RESTART | SA_RESETHAND;  // the second one ends the process
  sigaction(SIGINT, nullptr, &before);
  if (before.sa_handler != SIG_IGN)
    sigaction(SIGINT, &interrupt, nullptr);  // ignored behind nohup or in a background job
  const sigset_t signals = stop_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

void open_closed_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    ::open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY);  // takes the lowest free one
  }
}

bool stop_requested() { return asked != 0; }

void throw_if_stop_requested() {
  if (stop_requested()) throw Stopped();
}

}  // namespace qroar
