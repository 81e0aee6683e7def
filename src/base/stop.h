// Being asked to leave: a scheduler sends SIGTERM or SIGUSR1 some time before it kills.
#pragma once
#include <exception>

namespace qroar {

/// Everything that is finished is on disk, and the next run goes on from there.  Exit code 75, sysexits.h's
/// EX_TEMPFAIL.
class Stopped : public std::exception {
 public:
  static constexpr int kExitCode = 75;
  const char* what() const noexcept override { return "stopped by a signal; run the same command again to go on"; }
};

/// From here on SIGTERM and SIGUSR1 are only noted, as often as they come.
void note_stop_signals();

bool stop_asked();

/// Throws Stopped once one of them came.  To be called where work that took time has just been written down.
void stop_if_asked();

}  // namespace qroar
