// One progress line with the remaining time: rewritten in place on a terminal, else logged at most every ten seconds.
#pragma once
#include <chrono>
#include <string>

namespace qroar {

class Progress {
 public:
  /// `total` is the amount of work in any unit (floating-point operations here).
  explicit Progress(double total);
  ~Progress();
  /// Adds `done` to the completed work; `label` says what is running.
  void advance(double done, const std::string& label);
  /// Excludes the time of work that is not part of `total` from the estimate.
  void leave_out(std::chrono::steady_clock::duration time) { start_ += time; }
  /// Includes the time that an earlier run took for work which this one only advances over.
  void include(double seconds) {
    start_ -= std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }
  /// Ends the terminal line, so that other output starts on a new line.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  double total_, done_ = 0;
  bool terminal_, on_line_ = false;
  Clock::time_point start_ = Clock::now(), last_shown_ = start_;
};

/// Returns "1h02m", "3m05s" or "12s".
std::string format_seconds(double seconds);

}  // namespace qroar
