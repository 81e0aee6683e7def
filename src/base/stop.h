// Stopping on request: a scheduler sends SIGTERM or SIGUSR1 some time before it kills a process.
#pragma once
#include <exception>

namespace qroar {

/// Thrown when all finished work is on disk; the next run continues from there.  Exit code 75, EX_TEMPFAIL of
/// sysexits.h.
class Stopped : public std::exception {
 public:
  static constexpr int kExitCode = 75;
  const char* what() const noexcept override { return "stopped by a signal; run the same command again to go on"; }
};

/// Installs handlers that only record SIGTERM and SIGUSR1, however often they arrive.
void install_stop_handlers();

bool stop_requested();

/// Throws Stopped if one of them has arrived.  Call it after the result of longer work has been written.
void throw_if_stop_requested();

}  // namespace qroar
