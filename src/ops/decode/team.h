// Threads that run several loops in sequence: a barrier between them costs a fraction of ending one parallel region and
// beginning the next.
#pragma once
#include <ATen/Parallel.h>
#include <omp.h>

namespace qroar::ops::cpu {

struct Team {
  int64_t thread, threads;

  struct Part {
    int64_t begin, end;
  };
  /// Returns this thread's part of `count` items.
  Part share(int64_t count) const { return {count * thread / threads, count * (thread + 1) / threads}; }
  /// Waits for all threads; afterwards their writes are visible.
  void barrier() const {
#pragma omp barrier
  }
};

/// Calls body(team) in every thread; `body` must not throw.
template <class Body>
void as_team(const Body& body) {
#pragma omp parallel num_threads(at::get_num_threads())
  body(Team{omp_get_thread_num(), omp_get_num_threads()});
}

}  // namespace qroar::ops::cpu
