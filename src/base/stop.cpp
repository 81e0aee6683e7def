#include "base/stop.h"

#include <csignal>

namespace qroar {
namespace {

volatile std::sig_atomic_t asked = 0;

}  // namespace

void install_stop_handlers() {
  struct sigaction action = {};
  action.sa_handler = [](int) { asked = 1; };
  action.sa_flags = SA_RESTART;  // an interrupted read or write continues
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

bool stop_requested() { return asked != 0; }

void throw_if_stop_requested() {
  if (stop_requested()) throw Stopped();
}

}  // namespace qroar
