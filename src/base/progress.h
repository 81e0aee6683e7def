// One line of progress with the time left: rewritten in place on a terminal, else logged at most every ten seconds.
#pragma once
#include <chrono>
#include <string>

namespace qroar {

class Progress {
 public:
  /// `total` work in any unit (we use floating point operations).
  explicit Progress(double total);
  ~Progress();
  /// `done` more work; `label` says what is running.
  void advance(double done, const std::string& label);
  /// Leaves time that went into work outside of `total` out of the estimate.
  void leave_out(std::chrono::steady_clock::duration time) { start_ += time; }
  /// Ends the terminal line, so that other output starts on a fresh one.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  double total_, done_ = 0;
  bool terminal_, on_line_ = false;
  Clock::time_point start_ = Clock::now(), last_shown_ = start_;
};

/// "1h02m", "3m05s", "12s".
std::string format_seconds(double seconds);

}  // namespace qroar
