// Notices that a process waits and does not compute, as it does when a network file system stalls: a read that waits
// can be neither timed out nor interrupted.
#pragma once
#include <chrono>
#include <ctime>

namespace qroar {

/// Returns the processor time of all threads of this process, in seconds.
inline double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Counts beats instead of time, since a suspended process has none.
class StallWatch {
 public:
  static constexpr std::chrono::seconds kWait{60};

  /// `interval`: the time between two beats.
  explicit StallWatch(std::chrono::milliseconds interval, double processor = processor_seconds())
      : interval_(interval), processor_(processor) {}

  /// Call it at each beat with processor_seconds().  Returns true once for each time that the process did not use a
  /// hundredth of a processor in any beat of kWait.
  bool stalls(double processor) {
    const bool works = processor - processor_ > 0.01 * std::chrono::duration<double>(interval_).count();
    processor_ = processor;
    waited_ = works ? std::chrono::milliseconds(0) : waited_ + interval_;
    return waited_ >= kWait && waited_ < kWait + interval_;
  }

 private:
  std::chrono::milliseconds interval_, waited_{0};
  double processor_;
};

}  // namespace qroar
