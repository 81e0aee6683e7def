// Threads that do several loops one after the other: meeting at a barrier costs them a fraction of what the end of one
// parallel region and the beginning of the next do.
#pragma once
#include <ATen/Parallel.h>
#include <omp.h>

namespace qroar::ops::cpu {

struct Team {
  int64_t thread, threads;

  struct Part {
    int64_t begin, end;
  };
  /// This thread's part of so many items.
  Part share(int64_t count) const { return {count * thread / threads, count * (thread + 1) / threads}; }
  /// Goes on when all threads have come here, and sees what they wrote.
  void meet() const {
#pragma omp barrier
  }
};

/// Calls body(team) in every thread; body throws nothing.
template <class Body>
void as_team(const Body& body) {
#pragma omp parallel num_threads(at::get_num_threads())
  body(Team{omp_get_thread_num(), omp_get_num_threads()});
}

}  // namespace qroar::ops::cpu
