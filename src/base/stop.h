// What the world does to a running process: a scheduler sends SIGTERM or SIGUSR1 some time before it kills it, a user
// presses Ctrl-C, and either may have closed its terminal.
#pragma once
#include <csignal>
#include <exception>

namespace qroar {

/// Thrown when all finished work is on disk; the next run continues from there.  Exit code 75, EX_TEMPFAIL of
/// sysexits.h.
class Stopped : public std::exception {
 public:
  static constexpr int kExitCode = 75;
  const char* what() const noexcept override { return "stopped by a signal; run the same command again to go on"; }
};

/// Returns the signals below.  A process that is started with them blocked loses none that comes before the handlers
/// are there.
sigset_t stop_signals();

/// Installs handlers that only record SIGTERM and SIGUSR1, however often they arrive, and SIGINT, which says so and
/// ends the process when it comes again, and lets those signals in.
void install_stop_handlers();

/// Opens those of the descriptors 0 to 2 that were closed, so that no file of ours takes their number and with it what
/// is printed.  Messages to a closed stderr are lost; a write to a closed stdout fails as before.
void open_closed_descriptors();

bool stop_requested();

/// Throws Stopped if one of them has arrived.  Call it after the result of longer work has been written.
void throw_if_stop_requested();

}  // namespace qroar
