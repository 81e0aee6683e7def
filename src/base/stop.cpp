#include "base/stop.h"

#include <csignal>

namespace qroar {
namespace {

volatile std::sig_atomic_t asked = 0;

}  // namespace

void note_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { asked = 1; };
  action.sa_flags = SA_RESTART;  // an interrupted read or write continues
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

bool stop_asked() { return asked != 0; }

void stop_if_asked() {
  if (stop_asked()) throw Stopped();
}

}  // namespace qroar
