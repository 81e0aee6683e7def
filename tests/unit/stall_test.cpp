#include "base/stall.h"

#include <thread>

#include "support/catch.h"

namespace qroar {

TEST_CASE("a process that computes nothing for a minute stalls, once until it computes again") {
  StallWatch watch(std::chrono::seconds(10), /*processor=*/5);
  const auto beats = [&](int count, double from, double each) {
    int stalls = 0;
    for (int i = 1; i <= count; ++i) stalls += watch.stalls(from + each * i) ? 1 : 0;
    return stalls;
  };
  CHECK(beats(5, 5, 0.05) == 0);  // half a hundredth of a processor for 50 s
  CHECK(beats(1, 5.25, 0.05) == 1);
  CHECK(beats(20, 5.3, 0.05) == 0);  // it has been said
  CHECK(beats(1, 6.3, 0.2) == 0);    // it computes
  CHECK(beats(5, 6.5, 0) == 0);
  CHECK(beats(2, 6.5, 0) == 1);
}

TEST_CASE("waiting takes no time of the processor, and any thread's work does") {
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(processor_seconds() - before < 0.1);
  bool grows = false;
  std::thread([&] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!grows && std::chrono::steady_clock::now() < end) grows = processor_seconds() - before > 0.15;
  }).join();
  CHECK(grows);
}

}  // namespace qroar
